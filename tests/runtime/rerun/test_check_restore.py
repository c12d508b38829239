"""What a person installs before a run can be made again: what is gone or has another version."""

from titrant.runtime.rerun.check import restore


def test_installs_what_is_gone_or_has_another_version():
    old = {"packages": {"torch": "2.13.0+cpu", "numpy": "2.3", "gone": "1"}, "python": "3.11.7"}
    new = {"packages": {"torch": "2.14.0", "numpy": "2.3", "added": "1"}, "python": "3.11.9"}
    assert restore(old, new) == "pip install gone==1 torch==2.13.0+cpu"
    assert restore(old, old) == ""


def test_names_another_python_first():
    old, new = {"packages": {}, "python": "3.11.7"}, {"packages": {}, "python": "3.12.1"}
    assert restore(old, new) == "use Python 3.11.7"
    assert restore({**old, "packages": {"numpy": "2"}}, new) == "with Python 3.11.7: pip install numpy==2"

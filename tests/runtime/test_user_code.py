"""The recipe's own code, called."""

import os
import sys
import threading

import pytest

from titrant.runtime.user_code import Territory, call, call_in_parent, call_unforked, hiding, reason_of
from titrant.schema.diagnostics.diagnostics import StepError


def test_names_what_was_called_and_the_line():
    raised = r"X108: the metric mine:one raised ZeroDivisionError \(test_user_code.py:\d+\) "
    with pytest.raises(StepError, match=raised):
        call("the metric mine:one", lambda: 1 / 0)


def test_leaves_out_what_the_users_code_says_for_it_may_hold_rows():
    with pytest.raises(StepError) as caught:
        call("mine:rows()", lambda: float("Jane Doe"))
    (diagnostic,) = caught.value.diagnostics
    assert "Jane Doe" not in str(caught.value) + repr(caught.value.diagnostics) + reason_of(caught.value)
    assert diagnostic.said == "could not convert string to float: 'Jane Doe'"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_takes_no_fork_of_another_thread_for_one_of_what_it_calls():
    """OpenVINO's telemetry forks in a thread of its own, at any moment."""

    def fork():
        if os.fork() == 0:
            os._exit(0)

    def fork_elsewhere():
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
        return "answered"

    assert call_unforked("Net", fork_elsewhere) == "answered"
    with pytest.raises(StepError, match="X674: Net forks"):
        call_unforked("Net", fork)


def test_leaves_that_memory_ran_out_to_whoever_runs_the_step():
    with pytest.raises(MemoryError):
        call("the metric mine:one", lambda: bytearray(1 << 62))


def test_calls_a_function_whose_arguments_have_any_names():
    assert call("it", lambda what, function, args: (what, function, args), what=1, function=2, args=3) == (1, 2, 3)


@pytest.mark.parametrize(
    ("file", "load", "what"),
    [
        ("mailbox.py", "from mailbox import Maildir", "Python's module `mailbox`"),
        ("wave.py", "import wave.chunk", "Python's module `wave`"),
        ("xmlrpc/__init__.py", "import xmlrpc; xmlrpc.client", "Python's module `xmlrpc`"),
        ("xdist.py", "from xdist import plugin", "the installed package `xdist`"),
        ("mine.py", "from mine import nothing", None),
    ],
)
def test_says_which_file_is_loaded_in_place_of_a_module(tmp_path, monkeypatch, file, load, what):
    place = tmp_path / file
    place.parent.mkdir(exist_ok=True)
    place.write_text("")
    top = file.removesuffix(".py").partition("/")[0]
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == top}
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises((ImportError, AttributeError)) as caught:
            exec(load, {})
        expected = "" if what is None else f"rename {file}: it is loaded in place of {what}"
        assert hiding(caught.value) == expected
    finally:
        sys.modules.pop(top, None)
        sys.modules.update(kept)


def test_takes_files_in_memory_for_the_users_and_devices_for_the_systems(tmp_path):
    territory = Territory(tmp_path)
    owned = [territory.owns(path) for path in ("/dev/shm/rows.npz", "/dev/shm", "/dev/null", "/etc/hosts")]
    assert owned == [True, True, False, False]


@pytest.mark.parametrize(("raises", "code"), [(False, 0), (True, 1)])
def test_ends_a_copy_of_the_process_that_comes_back(raises, code):
    children = []

    def fork():
        if pid := os.fork():
            children.append(pid)
        elif raises:
            raise ValueError("in the copy")

    call_in_parent(fork)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == code

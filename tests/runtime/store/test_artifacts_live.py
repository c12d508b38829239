"""What the worker keeps, and for how long."""

from titrant.runtime.store.artifacts import LiveValues, Store
from titrant.runtime.store.home import open_home
from titrant.runtime.values import ReportFiles


def test_lets_go_of_the_longest_unused_beyond_its_limit_but_never_of_the_newest(tmp_path):
    store = Store(open_home(tmp_path / "home"))
    live = LiveValues(store, tmp_path / "live", limit=250)
    artifacts = [store.put("value", {"n": n, "text": "x" * 80}) for n in range(3)]
    for artifact in artifacts[:2]:
        live.keep(artifact, None)
    assert live.find(artifacts[0]) is not None
    live.keep(artifacts[2], None)
    assert [live.find(artifact) is not None for artifact in artifacts] == [True, False, True]
    big = store.put("value", "y" * 1000)
    live.keep(big, None)
    assert live.find(big) is not None
    assert live.find(artifacts[0]) is None


def test_keeps_files_as_the_store_has_them_and_not_those_of_the_scratch_folder(tmp_path):
    store = Store(open_home(tmp_path / "home"))
    live = LiveValues(store, tmp_path / "live")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name in ("report.html", "report.md", "report.json"):
        (scratch / name).write_text(name)
    artifact = store.put("report", ReportFiles(scratch))
    live.keep(artifact, ReportFiles(scratch))
    found = live.find(artifact).value
    assert found.folder != scratch
    assert (found.folder / "report.md").read_text() == "report.md"

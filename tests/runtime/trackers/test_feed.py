"""One tracker is handed all that a run has for it, and whatever it does ends in its record."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.trackers.feed import feed
from titrant.runtime.trackers.mlflow import open_mlflow
from titrant.runtime.trackers.tensorboard import open_tensorboard
from titrant.runtime.trackers.tracker import Ending, TrackedPoint, TrackedRun, TrackerError, refuse_unwritable
from titrant.runtime.trackers.wandb import open_wandb
from titrant.schema.diagnostics.diagnostics import all_codes
from titrant.schema.record import TrackerRecord

RUN = TrackedRun("20270101T000000Z-x-0123456789", "x", Path("/nowhere"), Path("/nowhere"), {"plan": "01234567"})
POINTS = [TrackedPoint("fit", place, {"loss": 1.0 / place}, 0.0) for place in range(1, 5)]
ENDING = Ending(0, "PASS")


class Recorder:
    """A tracker that keeps what it is given, and refuses where it is told to."""

    mode, where = "local", "https://me:secret@example/x"

    def __init__(self, refuses):
        self.refuses, self.taken, self.asked = refuses, [], 0

    def log(self, point):
        self.asked += 1
        if self.asked - 1 in self.refuses:
            raise ConnectionError(f"no answer to request {self.asked} from https://me:secret@example")
        self.taken.append(point)

    close = log


def fed(refuses=(), items=(*POINTS, ENDING), opener=None):
    tracker, said = Recorder(refuses), []
    record = feed(TrackerRecord("toy"), opener or (lambda run, options: tracker), (RUN, {}), items, said.append)
    return tracker, record, said


def test_hands_on_everything_in_order_and_counts_it():
    tracker, record, said = fed()
    assert tracker.taken == [*POINTS, ENDING]
    assert (record.sent, record.points, record.code) == (5, 5, "")
    assert said[0] == TrackerRecord("toy", mode="local", where="https://<redacted>@example/x")


@given(st.sets(st.integers(0, 11)))
def test_goes_on_after_a_refusal_and_gives_up_after_three_in_a_row(refuses):
    items = [*[POINTS[0]] * 11, ENDING]
    tracker, record, _ = fed(refuses, items)
    third = next((place for place in range(10) if {place, place + 1, place + 2} <= refuses), None)
    taken = [place for place in range(12) if place not in refuses and (third is None or place < third)]
    assert record.sent == len(tracker.taken) == len(taken)
    assert record.points == (12 if third is None else third + 3)
    assert record.code == ("X602" if refuses & set(range(record.points)) else "")
    first = min(refuses, default=-1) + 1
    said = f"ConnectionError: no answer to request {first} from https://<redacted>@example"
    assert record.because == (said if record.code else "")


@pytest.mark.parametrize(
    ("error", "code", "because", "remedy"),
    [
        (TrackerError("X601", "nothing can be written in /x: it is full", "make room"), "X601",
         "nothing can be written in /x: it is full", "make room"),
        (OSError("no route to host"), "X602", "OSError: no route to host", "the run's record and report have it all"),
        (RuntimeError("password=hunter2"), "X602", "RuntimeError: password=<redacted>",
         "the run's record and report have it all"),
    ],
)  # fmt: skip
def test_says_why_a_tracker_could_not_begin(error, code, because, remedy):
    def opener(run, options):
        raise error

    _, record, _ = fed(opener=opener)
    assert record == TrackerRecord("toy", code=code, because=because, remedy=remedy)
    assert record.words == f"warning[{code}]: toy took nothing: {because}; {remedy}"
    assert code in all_codes()


@pytest.mark.parametrize(
    ("package", "opener", "options", "remedy"),
    [
        ("wandb", open_wandb, {"project": "p", "mode": "offline", "entity": "", "group": "", "tags": []},
         "pip install wandb"),
        ("tensorboard.summary.writer.event_file_writer", open_tensorboard, {"folder": ""},
         "pip install 'titrant[tensorboard]'"),
        ("mlflow.tracking", open_mlflow, {"uri": "", "experiment": "x"}, "pip install 'titrant[mlflow]'"),
    ],
)  # fmt: skip
def test_says_which_package_is_missing(package, opener, options, remedy, *, monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_ERROR_REPORTING", "WANDB_SILENT", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, "x")  # so that what is set beside the run goes with this test
    monkeypatch.setenv("WANDB_ARTIFACT_DIR", "x")
    monkeypatch.setitem(__import__("sys").modules, package, None)
    run = TrackedRun(RUN.run, "x", tmp_path / "run", tmp_path / "home", RUN.settings)
    record = feed(TrackerRecord("toy"), opener, (run, options), [], lambda record: None)
    assert (record.code, record.remedy) == ("X600", remedy)


def test_notices_a_folder_in_which_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrackerError, match=r"nothing can be written in .*: .*irectory"):
        refuse_unwritable(tmp_path / "file" / "below")


def test_notices_a_full_disk(tmp_path):
    """A limit on the size of files makes the kernel refuse as a full disk does, at the first flush."""
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(TrackerError, match=r"nothing can be written in .*file too large") as caught:
            refuse_unwritable(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.code == "X601"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (TrackerRecord("wandb", "disabled"), "wandb: disabled"),
        (TrackerRecord("wandb", "offline", "tracking/wandb", 7, 7), "wandb: offline, 7 of 7 points in tracking/wandb"),
        (TrackerRecord("mlflow", "online", "http://x", 7, 9, "X603", "too late", "wait"),
         "warning[X603]: mlflow took 7 of 9 points in http://x: too late; wait"),
    ],
)  # fmt: skip
def test_says_how_a_tracker_fared(record, words):
    assert record.words == words

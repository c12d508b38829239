"""Trackers follow a run from processes of their own: none stops, slows or changes the exit of the run."""

import json
import os
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from titrant.runtime.run import execute as executing
from titrant.runtime.store.journal import read
from titrant.runtime.store.run_folder import read_record
from titrant.runtime.trackers import followers
from titrant.runtime.trackers.followers import Followers
from titrant.schema.diagnostics.diagnostics import StepError

BOARD = {"tensorboard": {"folder": ""}}


def tracked(plan, **tracking):
    return replace(plan, tracking=tracking or BOARD)


def instead(monkeypatch, tmp_path, code):
    """Let a module of the test's own be the process of every tracker."""
    (tmp_path / "in_its_place.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(followers, "_MAIN", "in_its_place")


def test_follows_a_run_and_keeps_how_that_went_beside_its_record(toy, here, make_plan, monkeypatch, tmp_path):
    record = toy.run(tracked(make_plan()))
    (tracker,) = record.tracking
    assert (record.exit, record.released) == (0, ("c2",))
    assert (tracker.tracker, tracker.mode, tracker.where, tracker.code) == (
        "tensorboard", "local", "tracking/tensorboard", ""
    )  # fmt: skip
    assert tracker.sent == tracker.points == 10
    folder = toy.home.runs / record.run
    assert read_record(folder).tracking == record.tracking
    # The journal names the record by its digest: nothing is added to either once the run is closed.
    assert "tracking" not in json.loads((folder / "record.json").read_text())
    assert read(folder / "journal.jsonl")[-1]["event"] == "closed"
    scalars = written(folder / "tracking" / "tensorboard")
    assert scalars["c2/gates/retention"] == [(0, 1.0)]
    assert set(scalars) >= {"load/number", "c2/size_bytes", "latency/seconds"}
    # Where nothing runs, nothing is tracked anew, and the earlier run's answer is what it was.
    instead(monkeypatch, tmp_path, "raise SystemExit(3)")
    again = toy.run(tracked(make_plan()))
    assert (again.executed, again.tracking) == (0, record.tracking)


def written(folder):
    """Read the scalars of the event file in a folder, as tag → (step, value)."""
    from tensorboard.compat.proto.event_pb2 import Event

    (file,) = folder.iterdir()
    data, scalars = file.read_bytes(), {}
    while data:
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        data = data[16 + size :]
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
    return scalars


def test_a_plan_is_the_same_whoever_follows_it(toy, make_plan):
    from titrant.schema.plan import plan_digest

    assert plan_digest(tracked(make_plan())) == plan_digest(make_plan())


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise SystemExit(3)", ("X604", "its process ended with code 3")),
        ("import os; os.kill(os.getpid(), 9)", ("X604", "its process ended with code -9")),
        ("import os; os._exit(0)", ("X604", "its process ended with code 0")),
        ("import sys; sys.stdin.close(); print('no json', flush=True); raise SystemExit(1)",
         ("X604", "its process ended with code 1")),
        ("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()",
         ("X603", "it had not ended 0 s after the run")),
    ],
)  # fmt: skip
def test_says_what_became_of_a_process_that_ends_by_itself_or_not_at_all(
    toy, make_plan, monkeypatch, *, tmp_path, code, why
):
    instead(monkeypatch, tmp_path, code)
    (tracker,) = followed(toy, make_plan, tmp_path, seconds=0.0 if why[0] == "X603" else 60.0)
    assert (tracker.code, tracker.because) == why


def followed(toy, make_plan, folder, seconds=60.0):
    following = Followers(tracked(make_plan((1,))), toy.home)
    following.start(folder)
    return following.end(seconds, lambda event: None)


def test_ends_a_run_as_it_would_without_trackers_where_they_have_no_place_to_write(toy, here, make_plan, tmp_path):
    (tmp_path / "file").write_text("in the way")
    record = toy.run(tracked(make_plan((1,)), tensorboard={"folder": str(tmp_path / "file")}))
    (tracker,) = record.tracking
    assert (record.exit, record.released) == (0, ("c1",))
    assert (tracker.code, tracker.sent) == ("X601", 0)
    assert read_record(toy.home.runs / record.run).tracking == record.tracking


def test_tells_that_a_process_cannot_be_started(toy, make_plan, monkeypatch, tmp_path):
    monkeypatch.setattr(followers, "sys", SimpleNamespace(executable="/no/such/python"))
    assert followed(toy, make_plan, tmp_path)[0].code == "X604"


def test_waits_only_a_little_for_trackers_of_a_run_that_failed_and_raises_its_error(
    toy, here, make_plan, monkeypatch, tmp_path
):
    instead(monkeypatch, tmp_path, "import signal; signal.pause()")
    monkeypatch.setattr(executing, "AFTER_FAILURE_SECONDS", 0.0)
    with pytest.raises(StepError, match="level is not for this model"):
        toy.run(tracked(make_plan((1,), make={1: {"do": "refuse"}})))
    (folder,) = toy.home.runs.iterdir()
    assert json.loads((folder / "tracking.json").read_text())["tracking"][0]["code"] == "X603"


class Held:
    """A follower that notes what it is told."""

    name = "toy"

    def __init__(self, interrupts=False):
        self.said, self.interrupts = [], interrupts

    def hold(self, *, held):
        self.said.append(held)

    def is_done(self, until):
        if self.interrupts:
            raise KeyboardInterrupt
        return True

    def end(self, seconds):
        from titrant.schema.record import TrackerRecord

        return TrackerRecord("toy", "local")


def test_stops_while_models_are_timed(toy, make_plan):
    plan = make_plan((1,))
    steps = tuple(replace(step, operator="profile.latency") if step.id == "latency" else step for step in plan.steps)
    following = Followers(tracked(replace(plan, steps=steps)), toy.home)
    held, heard = Held(), []
    following._followers.append(held)
    hear = following.heard_by(heard.append)
    events = [("started", "c1"), ("started", "latency"), ("measured", "latency"), ("finished", "latency"),
              ("started", "latency"), ("failed", "latency"), ("finished", "c1")]  # fmt: skip
    for event, step in events:
        hear({"event": event, "step": step})
    assert held.said == [True, False, True, False]
    assert [(event["event"], event["step"]) for event in heard] == events


def test_stops_the_process_itself_and_lets_it_go_on(toy, make_plan, monkeypatch, tmp_path):
    instead(monkeypatch, tmp_path, "import signal; signal.pause()")
    steps = (replace(make_plan((1,)).steps[0], operator="profile.latency"),)
    following = Followers(tracked(replace(make_plan((1,)), steps=steps)), toy.home)
    following.start(tmp_path)
    process, hear = following._followers[0]._process.pid, following.heard_by(lambda event: None)
    hear({"event": "started", "step": "load"})
    assert changed(process, os.WSTOPPED) == signal.SIGSTOP
    hear({"event": "finished", "step": "load"})
    assert changed(process, os.WCONTINUED) == signal.SIGCONT
    following.end(0.0, lambda event: None)


def changed(process, state):
    """Wait until a child is stopped, or goes on, and return the signal that did it; None where it never is."""
    for _ in range(600):
        if (seen := os.waitid(os.P_PID, process, state | os.WNOHANG)) is not None:
            return seen.si_status
        time.sleep(0.1)
    return None


def test_takes_an_interrupt_while_it_waits_as_the_end_of_waiting(toy, make_plan, tmp_path):
    following = Followers(tracked(make_plan((1,))), toy.home)
    following._folder = tmp_path
    following._followers.append(Held(interrupts=True))
    (record,) = following.end(60.0, lambda event: None)
    assert record.tracker == "toy"


def test_starts_nothing_without_a_tracker(toy, make_plan, tmp_path):
    following, heard = Followers(make_plan((1,)), toy.home), []
    assert following.heard_by(heard.append) == heard.append
    following.start(tmp_path / "run")
    assert following.end(60.0, heard.append) == ()
    assert not (tmp_path / "run").exists()

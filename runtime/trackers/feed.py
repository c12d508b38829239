"""The process of one tracker: it reads the run and feeds the tracker, and says on stdout how far it is.

Called as `python -P -m titrant.runtime.trackers.feed` with what it is asked for as JSON on stdin.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.runtime.machine.processes import is_orphaned
from titrant.runtime.trackers.mlflow import open_mlflow
from titrant.runtime.trackers.reader import facts_of, follow
from titrant.runtime.trackers.tensorboard import open_tensorboard
from titrant.runtime.trackers.tracker import NO_ANSWER, Ending, Open, TrackedPoint, TrackedRun, Tracker, TrackerError
from titrant.runtime.trackers.wandb import open_wandb
from titrant.schema.config.secrets import without_secrets
from titrant.schema.record import TrackerRecord
from titrant.schema.values.canonical import plain

# So many refusals one after the other end it: a server that is gone takes its time to say so.
_MOST_REFUSALS = 3
_PUBLISH_SECONDS = 1.0
_MOST_SAID = 300
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
# Every tracker by the key of the recipe: another one is a file here and a line in this list.
TRACKERS: Mapping[str, Open] = {
    "wandb": open_wandb,
    "tensorboard": open_tensorboard,
    "mlflow": open_mlflow,
}

PublishRecord = Callable[[TrackerRecord], None]


def main() -> None:
    """Follow one run until its journal is closed, or the process that writes it is gone."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    _wake_when_orphaned()
    asked = json.loads(sys.stdin.read())
    parent = int(asked["parent"])
    facts = facts_of(Path(asked["folder"]), Path(asked["home"]))
    begun = TrackerRecord(asked["tracker"])

    def publish(record: TrackerRecord) -> None:
        print(json.dumps(plain(record)), file=answers, flush=True)

    ended = feed(
        begun,
        TRACKERS[begun.tracker],
        (facts, asked["options"]),
        follow(facts, lambda: is_orphaned(parent)),
        publish,
    )
    publish(ended)
    answers.flush()
    # A library's threads that wait for a server would hold the process.
    os._exit(0)


def _wake_when_orphaned() -> None:
    """Go on when the run is killed while this process is stopped: nobody else would wake it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, int(signal.SIGCONT))


def feed(
    begun: TrackerRecord,
    opener: Open,
    given: tuple[TrackedRun, Mapping[str, Any]],
    items: Iterable[TrackedPoint | Ending],
    publish: PublishRecord,
) -> TrackerRecord:
    """Open a tracker on a run, hand it every item, and return how it fared; whatever it raises ends in the record.

    `publish` gets the record about once a second, so that somebody knows how far it was if it is ended from outside.
    """
    try:
        tracker = opener(*given)
    except Exception as error:  # noqa: BLE001 - a tracker's library may raise anything
        return _refused(begun, error)
    where = tracker.where.removeprefix(f"{given[0].folder}{os.sep}")
    feeding = _Feeding(replace(begun, mode=tracker.mode, where=without_secrets(where)), tracker, publish)
    for item in items:
        if not feeding.take(item):
            break
    return feeding.record


class _Feeding:
    """One tracker that is fed, and how it fares."""

    def __init__(self, record: TrackerRecord, tracker: Tracker, publish: PublishRecord) -> None:
        self.record = record
        self._tracker = tracker
        self._publish = publish
        self._refusals = 0
        self._published_at = time.monotonic()
        publish(record)

    def take(self, item: TrackedPoint | Ending) -> bool:
        """Hand on an item; False when no more is taken."""
        self.record = replace(self.record, points=self.record.points + 1)
        try:
            if isinstance(item, Ending):
                self._tracker.close(item)
            else:
                self._tracker.log(item)
        except Exception as error:  # noqa: BLE001 - a tracker's library may raise anything
            self.record = _refused(self.record, error)
            self._refusals += 1
        else:
            self.record = replace(self.record, sent=self.record.sent + 1)
            self._refusals = 0
        if time.monotonic() - self._published_at >= _PUBLISH_SECONDS:
            self._published_at = time.monotonic()
            self._publish(self.record)
        return self._refusals < _MOST_REFUSALS


def _refused(record: TrackerRecord, error: Exception) -> TrackerRecord:
    """Note the first refusal: what comes after it mostly follows from it."""
    if record.code:
        return record
    text = " ".join(without_secrets(str(error)).split())
    if isinstance(error, TrackerError):
        return replace(record, code=error.code, because=text, remedy=error.remedy)
    said = f"{type(error).__name__}: {text}"[:_MOST_SAID]
    return replace(record, code=NO_ANSWER, because=said, remedy="the run's record and report have it all")


if __name__ == "__main__":
    main()

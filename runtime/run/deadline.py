"""A run's deadline: until when steps may be started, and when a step that runs over it is stopped."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from titrant.runtime.run.search_end import SearchEnd, gentlest
from titrant.runtime.run.walk import Performed, Performer, StepTask, StoppedError
from titrant.schema.diagnostics.diagnostics import CONTRACT_NOT_KEPT, Diagnostic, StepError
from titrant.schema.plan import MENDING_STAGE, Plan, Step
from titrant.schema.record import Artifact, EvaluationRows, Look, LookSubject
from titrant.schema.values.units import format_time

# A step that was started in time may run over by this share of the limit, and by so many seconds at least.
_GRACE_SHARE = 0.1
_GRACE_SECONDS = 5.0
# How often a step that ran over is stopped until it is.
_STOP_SECONDS = 0.1


class OutOfTimeError(StoppedError):
    """A step was not started, or was stopped, because the run's time is up; exit 5, as where nothing is released."""

    exit_code = CONTRACT_NOT_KEPT
    unjudged = "the run's time was up before it was judged"


class Deadline:
    """The end of a run that may take `seconds` from now on; without a number it never comes.

    A step is not started after the end, nor when it is predicted to run on beyond the grace that follows the end. A
    further candidate is not begun when its steps would leave no time to time and judge those that are there. Guesses
    are not believed, but of what mends a candidate: what is there by then is what the run can end with. The report is
    always made.
    """

    def __init__(self, plan: Plan, seconds: float | None) -> None:
        self._seconds = seconds
        self._grace = 0.0 if seconds is None else max(_GRACE_SECONDS, _GRACE_SHARE * seconds)
        self._end = None if seconds is None else time.monotonic() + seconds
        self._gentlest = gentlest(plan)
        self._reserve = _reserve(plan, self._gentlest)
        self._reserve_guessed = _reserve(plan, self._gentlest, guessed=True)
        self._search = SearchEnd(plan)

    def left(self) -> float | None:
        """Return the seconds until the end, below 0 after it; None when it never comes."""
        return None if self._end is None else self._end - time.monotonic()

    def allow(self, step: Step) -> None:
        """Raise OutOfTimeError when a step may not be started, SearchEndedError where the search has ended before."""
        self._search.allow(step)
        left = self.left()
        if left is None or step.stage == "report":
            return
        if left <= 0:
            raise self._error(step, "was not started")
        needed = _predicted(step)
        if needed > left + self._grace:
            raise self._error(step, f"is predicted to take {format_time(needed)}, and {format_time(left)} were left")
        makes = step.stage == "make" and step.candidate and step.candidate not in self._gentlest
        mends = step.stage == MENDING_STAGE
        if mends and _predicted(step, guessed=True) + self._reserve_guessed > left:
            raise self._error(step, "was not started, to leave time to judge what is there")
        if makes and needed + self._reserve > left:
            raise self._error(step, "was not started, to leave time to judge what is there")

    @contextmanager
    def stopping(self, step: Step, stop: Callable[[], None]) -> Iterator[None]:
        """Call `stop` when the step inside runs over its grace; whatever it then raises becomes OutOfTimeError."""
        left = self.left()
        if left is None or step.stage == "report":
            yield
            return
        over, done = threading.Event(), threading.Event()

        def watch() -> None:
            if done.wait(max(left + self._grace, 0.0)):
                return
            over.set()
            # Between two requests there is nothing to stop yet.
            while not done.wait(_STOP_SECONDS):
                stop()

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        try:
            yield
        except StepError:
            if over.is_set():
                raise self._error(step, "ran over and was stopped") from None
            raise
        finally:
            done.set()
            watching.join()  # what it would stop is over: the next request is another step's

    def gave_up_waiting(self, step: Step) -> OutOfTimeError:
        """Return what to raise when another process still computes a step at the end."""
        return self._error(step, "is being computed by another process")

    def _error(self, step: Step, what: str) -> OutOfTimeError:
        return OutOfTimeError(
            Diagnostic(
                "X360",
                f"the time of {format_time(self._seconds or 0.0)} is up: {step.id} {what}",
                help="finished steps are kept: run the same command again to go on",
            )
        )


class TimedPerformer:
    """Performs as another performer does, until a deadline; `stop` ends the step that runs over it."""

    def __init__(self, performer: Performer, deadline: Deadline, stop: Callable[[], None]) -> None:
        self._performer = performer
        self._deadline = deadline
        self._stop = stop

    def perform(self, task: StepTask) -> Performed | None:
        """Perform a step; OutOfTimeError when it may not be started, runs over, or another process still has it."""
        self._deadline.allow(task.step)
        try:
            with self._deadline.stopping(task.step, self._stop):
                # The report is always made, however long another process has it.
                waits = None if task.step.stage == "report" else self._deadline.left()
                return self._performer.perform(replace(task, wait_seconds=waits))
        except TimeoutError:
            raise self._deadline.gave_up_waiting(task.step) from None

    def keep(self, value: Mapping[str, Any]) -> Artifact:
        """Store a value, however late it is."""
        return self._performer.keep(value)

    def look(self, rows: EvaluationRows, judged: LookSubject) -> Look:
        """Say which look judging is, however late it is."""
        return self._performer.look(rows, judged)


def _reserve(plan: Plan, gentlest: set[str], *, guessed: bool = False) -> float:
    """Return the predicted seconds of timing all candidates and judging one of each search."""
    return sum(
        _predicted(step, guessed=guessed)
        for step in plan.steps
        if step.stage == "measure" or (step.stage == "judge" and (not step.candidate or step.candidate in gentlest))
    )


def _predicted(step: Step, *, guessed: bool = False) -> float:
    return (step.prediction.seconds or 0.0) if guessed or step.prediction.basis != "guess" else 0.0

"""The steps with what was predicted beside what happened."""

from dataclasses import dataclass

from titrant.runtime.report.record_view import Record
from titrant.runtime.report.words import NONE, quantity
from titrant.schema.plan import Step
from titrant.schema.record import StepRecord

# status → symbol, words, tone
STATUSES = {
    "finished": ("✓", "ran", "plain"),
    "reused": ("=", "reused from an earlier run", "plain"),
    "failed": ("✕", "failed", "fail"),
    "rejected": ("✕", "its candidate was rejected", "faint"),
    "unused": ("○", "the search did not ask for it", "faint"),
    "": ("○", "no record: written before this step ended", "faint"),
}


@dataclass(frozen=True)
class Pair:
    """One quantity predicted and measured; `off` says how far apart they are where that is by more than two times."""

    predicted: str
    actual: str
    off: str = ""


@dataclass(frozen=True)
class StepRow:
    """One step of the plan and what became of it."""

    id: str
    operator: str
    stage: str
    candidate: str
    symbol: str
    status: str
    tone: str
    seconds: Pair
    memory: Pair
    size: Pair
    basis: str
    because: str
    error: str


def step_rows(record: Record) -> tuple[StepRow, ...]:
    """List the plan's steps in order."""
    done = {step.step: step for step in record.run.steps}
    return tuple(_row(step, done.get(step.id, StepRecord(step.id, ""))) for step in record.plan.steps)


def _row(step: Step, done: StepRecord) -> StepRow:
    symbol, words, tone = STATUSES.get(done.status, ("○", done.status, "plain"))
    if step.operator == "report.render":
        symbol, words, tone = "·", "writes this report", "plain"
    tone = "fail" if done.error else tone
    expected, result = step.prediction, done.result
    size = sum(artifact.size for artifact in result.outputs.values()) if result else None
    known = (expected.seconds, expected.peak_bytes, expected.output_bytes) != (None, None, None)
    return StepRow(
        id=step.id,
        operator=f"{step.operator} {step.version}",
        stage=step.stage,
        candidate=step.candidate,
        symbol=symbol,
        status=words,
        tone=tone,
        seconds=_pair(expected.seconds, result.seconds if result else None, "s"),
        # A step that only waited for a child has no peak of its own to show.
        memory=_pair(expected.peak_bytes, (result.peak_bytes or None) if result else None, "B"),
        size=_pair(expected.output_bytes, size, "B"),
        basis=expected.basis if known else NONE,
        because=step.because,
        error=done.error,
    )


def _pair(predicted: float | None, actual: float | None, unit: str) -> Pair:
    off = ""
    if predicted and actual and not 0.5 <= actual / predicted <= 2:
        ratio = actual / predicted
        off = f"{ratio:.1f}× as much" if ratio > 1 else f"{1 / ratio:.1f}× less"
    return Pair(quantity(predicted, unit), quantity(actual, unit), off)


def totals(record: Record) -> Pair:
    """Add up the seconds of every step that has both a prediction and a result."""
    done = {step.step: step.result for step in record.run.steps if step.result}
    both = [(step.prediction.seconds, done[step.id]) for step in record.plan.steps if step.id in done]
    pairs = [(seconds, result.seconds) for seconds, result in both if seconds is not None and result is not None]
    if not pairs:
        return Pair(NONE, NONE)
    return _pair(sum(seconds for seconds, _ in pairs), sum(seconds for _, seconds in pairs), "s")

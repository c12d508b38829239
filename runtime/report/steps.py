"""The report's table of steps: what was predicted of each beside what happened."""

from dataclasses import dataclass

from titrant.runtime.report.record_view import NONE, Record
from titrant.runtime.report.savings import FILE_BYTES, MEMORY_BYTES, SECONDS, Pair, pair
from titrant.schema.plan import Prediction, Step, basis_words
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
class StepRow:
    """One step of the plan and what became of it; what was predicted before it ran stands in its result."""

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
    result = done.result
    expected = result.predicted if result else Prediction()
    size = sum(artifact.size for artifact in result.outputs.values()) if result else None
    return StepRow(
        id=step.id,
        operator=f"{step.operator} {step.version}",
        stage=step.stage,
        candidate=step.candidate,
        symbol=symbol,
        status=words,
        tone=tone,
        seconds=pair(expected.seconds, result.seconds if result else None, "s", SECONDS),
        # A step that only waited for a child has no peak of its own to show.
        memory=pair(expected.peak_bytes, (result.peak_bytes or None) if result else None, "B", MEMORY_BYTES),
        size=pair(expected.output_bytes, size, "B", FILE_BYTES),
        basis=basis_words(expected) or NONE,
        because=step.because,
        error=done.error,
    )

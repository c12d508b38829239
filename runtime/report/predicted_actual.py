"""What was predicted before a step ran, beside what it turned out to be."""

from dataclasses import dataclass

from titrant.runtime.report.candidates import Shown
from titrant.runtime.report.record_view import Record
from titrant.runtime.report.words import NONE, quantity
from titrant.schema.candidate_cost import candidate_cost
from titrant.schema.plan import ModelCost, Prediction
from titrant.schema.record import StepResult

# "predicted (measured)" would read as a contradiction.
_SURE = {"measured": "as measured before"}
# A prediction is told to be off from this factor on.
_FACTOR = 2.0
# Below these differences the clock, the allocator and the disk decide.
SECONDS, MEMORY_BYTES, FILE_BYTES = 0.1, 16 << 20, 16 << 10


@dataclass(frozen=True)
class Pair:
    """One quantity predicted and measured; `off` says how far apart they are where that is by more than two times."""

    predicted: str
    actual: str
    off: str = ""

    @property
    def words(self) -> str:
        """Both in one text: "2 s → 5 s (2.5× as much)"."""
        return f"{self.predicted} → {self.actual}" + (f" ({self.off})" if self.off else "")


def pair(predicted: float | None, actual: float | None, unit: str, least: float = 0.0) -> Pair:
    """Put a predicted quantity beside the actual one; `least` is the difference from which it counts."""
    return Pair(quantity(predicted, unit), quantity(actual, unit), off(predicted, actual, least))


def off(predicted: float | None, actual: float | None, least: float = 0.0) -> str:
    """Say how far a prediction is off, "" where that is by no more than two times or by less than `least`."""
    if not predicted or not actual or 1 / _FACTOR <= actual / predicted <= _FACTOR or abs(actual - predicted) < least:
        return ""
    ratio = actual / predicted
    return f"{ratio:.1f}× as much" if ratio > 1 else f"{1 / ratio:.1f}× less"


def totals(record: Record) -> Pair:
    """Add up the seconds of every step that has both a prediction and a result."""
    results = [step.result for step in record.run.steps if step.result]
    both = [(one.predicted.seconds, one.seconds) for one in results if one.predicted.seconds is not None]
    if not both:
        return Pair(NONE, NONE)
    return pair(sum(predicted for predicted, _ in both), sum(seconds for _, seconds in both), "s")


def loading(record: Record) -> Pair:
    """Add up what loading libraries took, which is in no step, beside what was predicted of those libraries."""
    results = [step.result for step in record.run.steps if step.result and step.result.loads]
    if not results:
        return Pair(NONE, NONE)
    predicted = sum(one.predicted.loads.get(name, 0.0) for one in results for name in one.loads)
    return pair(predicted, sum(seconds for one in results for seconds in one.loads.values()), "s")


def size_told(record: Record, candidate: Shown) -> str:
    """Say what size was predicted for a candidate's file, "" where nothing was."""
    made = _result(record, candidate.planned.model.rpartition(".")[0])
    if made is None or made.predicted.output_bytes is None:
        return ""
    predicted = made.predicted
    return _told(predicted.output_bytes, candidate.record.size, "B", predicted.basis_of("output_bytes"))


def seconds_told(record: Record, candidate: Shown, batch: int, actual: float) -> str:
    """Say what latency was predicted for a batch of a candidate."""
    cost = _cost(record, candidate)
    return "" if cost is None else _told(cost.seconds.get(str(batch)), actual, "s", cost.basis)


def memory_told(record: Record, candidate: Shown) -> str:
    """Say what peak memory was predicted for a candidate."""
    cost = _cost(record, candidate)
    return "" if cost is None else _told(cost.peak_bytes, candidate.timings.peak_bytes, "B", cost.basis)


def _cost(record: Record, candidate: Shown) -> ModelCost | None:
    def predicted(step: str) -> Prediction | None:
        made = _result(record, step)
        return None if made is None else made.predicted

    found = candidate_cost(candidate.id, record.plan.searches, predicted)
    return None if found is None else found[0]


def _result(record: Record, step: str) -> StepResult | None:
    return next((done.result for done in record.run.steps if done.step == step), None)


def _told(predicted: float | None, actual: float | None, unit: str, word: str) -> str:
    if predicted is None:
        return ""
    far = off(predicted, actual)
    return f"{quantity(predicted, unit)} predicted ({_SURE.get(word, word)})" + (f"; it is {far}" if far else "")

"""What a candidate saves against the original, one row a quantity, and what was predicted beside what was measured.

There is never one overall score.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from titrant.runtime.contract.statistics.paired_runs import compare_runs
from titrant.runtime.report.candidates import NOTHING, Shown, original_bytes
from titrant.runtime.report.main_metric import is_less_better, main_metric
from titrant.runtime.report.record_view import NONE, ModelTimings, Record, Timing, fraction, metric_with_cases, quantity
from titrant.schema.gain import Gain, speed_words, throughput_words
from titrant.schema.gate import Gate, GateResult
from titrant.schema.plan import CandidateSearch, ModelCost, Prediction, candidate_cost
from titrant.schema.record import StepResult


@dataclass(frozen=True)
class Saving:
    """One quantity before and after.

    `words` compares the two ("0.29 of the original", "2.4× faster"); `tone` is good, bad or plain; the shares are bar
    lengths, 0..1 of the larger of the two, or None where a bar would say nothing.
    """

    name: str
    before: str
    after: str
    words: str
    tone: str
    before_share: float | None = None
    after_share: float | None = None
    note: str = ""
    predicted: str = ""  # what had been predicted of `after`, and how
    pace: bool = False  # it is the median latency against the original
    judged: bool = False  # it is the main metric on evaluation rows


@dataclass(frozen=True)
class Speeds:
    """The timings that a candidate's latency is told by: of all models, by name; `anew` where they judged it."""

    models: Mapping[str, ModelTimings]
    anew: bool

    @property
    def note(self) -> str:
        """Say which runs these are."""
        return "runs after the choice" if self.anew else "the runs that chose"


def speeds(record: Record, candidate: Shown, batch: int) -> Speeds:
    """Return the runs that judged a candidate where it was timed for that at this batch size, else those that chose."""
    anew = record.values.judged_timings.get(candidate.id, {})
    if all(name in anew and batch in anew[name].batches for name in ("original", candidate.id)):
        return Speeds(anew, True)
    return Speeds(record.values.timings, False)


def savings(record: Record, search: CandidateSearch, candidate: Shown) -> tuple[Saving, ...]:
    """Compare a candidate with the original: size, latency, throughput, peak memory and the main metric.

    Latency is compared with the plain conversion in the same engine too.
    """
    original = record.values.timings.get("original", NOTHING)
    largest = max(original.batches, default=0)
    at_largest = speeds(record, candidate, largest)
    before, after = (at_largest.models.get(name, NOTHING).peak_bytes for name in ("original", candidate.id))
    memory = f"resident memory added by loading the model and answering the largest batch, {at_largest.note}"
    rows = (
        _with_prediction(
            _amount("size", original_bytes(record), candidate.record.size, "one file against the stored original"),
            predicted_size(record, candidate),
        ),
        *_latency(record, search.timing_batch, candidate),
        _throughput(original, candidate),
        _with_prediction(
            _amount("peak memory", before, after, memory),
            predicted_memory(record, candidate, after),
        ),
        _metric(record, candidate),
    )
    return tuple(row for row in rows if row)


def _with_prediction(saving: Saving | None, predicted: str) -> Saving | None:
    return saving and replace(saving, predicted=predicted)


def _amount(name: str, before: float | None, after: float | None, note: str) -> Saving | None:
    if after is None:
        return None
    if before is None:
        return Saving(name, "not measured", quantity(after, "B"), "nothing to compare with", "plain", note=note)
    words = f"{after / before:.2f} of the original" if before else "the original has none"
    return _bars(Saving(name, quantity(before, "B"), quantity(after, "B"), words, "", note=note), before, after)


def _latency(record: Record, batch: int, candidate: Shown) -> Iterator[Saving]:
    timed = speeds(record, candidate, batch)
    threads, plain = record.plan.timing_threads, candidate.planned.plain
    note = f"one batch of {batch}, {'one thread' if threads == 1 else f'{threads} threads'}, {timed.note}"
    names = ("original", plain, candidate.id)
    before, conversion, after = (timed.models.get(name, NOTHING).batches.get(batch) for name in names)
    if before and after:
        predicted = predicted_seconds(record, candidate, batch, after.p50)
        yield _pace(Saving("latency p50", "", "", "", "", note=note, predicted=predicted, pace=True), before, after)
    if conversion and after and plain != "original":
        about = f"before is {plain}, the plain conversion in the same engine; {note}"
        yield _pace(Saving(f"latency p50 against {plain}", "", "", "", "", note=about), conversion, after)
    if before and after:
        yield _tail(before, after, note)


def _pace(saving: Saving, before: Timing, after: Timing) -> Saving:
    """Compare two medians: round by round with the interval, where the rounds are known."""
    saving = replace(saving, before=quantity(before.p50, "s"), after=quantity(after.p50, "s"))
    gain = speed_gain(before, after)
    if gain is None:
        return _bars(replace(saving, words=faster(before.p50, after.p50)), before.p50, after.p50)
    by_cpu = " by CPU time, since the machine was busy" if gain.busy and gain.clock == "cpu" else ""
    words = f"{speed_words(gain)}{by_cpu}"
    return replace(_bars(saving, before.p50, after.p50), words=words, tone=_TONES[gain.verdict])


_TONES = {"better": "good", "worse": "bad", "alike": "plain", "unknown": "plain"}


def speed_gain(before: Timing, after: Timing) -> Gain | None:
    """Compare two models that were timed in turns; None where their rounds are not known."""
    compared = compare_runs(after.runs, before.runs)
    if compared is None:
        return None
    lower, upper = compared.interval or (None, None)
    return Gain(
        "latency", True, "", "", False, compared.ratio.estimate, compared.shown, lower, upper, compared.clock,
        compared.busy,
    )  # fmt: skip


def _tail(first: Timing, second: Timing, note: str) -> Saving:
    """Compare the 95th percentiles, which few runs decide: with the interval of the factor, or without a factor."""
    shown = quantity(first.p95, "s"), quantity(second.p95, "s")
    if first.runs.tail_waited or second.runs.tail_waited:
        return Saving("latency p95", *shown, _WAITED, "plain", note=note)
    before, after = (_percentile_interval(timing.samples, 0.95) for timing in (first, second))
    if before is None or after is None or not before[0] or not after[0]:
        return Saving("latency p95", *shown, _NO_FACTOR, "plain", note=note)
    low, high = before[0] / after[1], before[1] / after[0]
    if low <= 1 <= high:
        words = f"as fast, as far as can be told: {low:.2f}× to {high:.2f}×"
        return replace(_bars(Saving("latency p95", *shown, words, "", note=note), first.p95, second.p95), tone="plain")
    span = (low, high) if low > 1 else (1 / high, 1 / low)
    words = f"{faster(first.p95, second.p95)} ({span[0]:.2f}× to {span[1]:.2f}×)"
    return _bars(Saving("latency p95", *shown, words, "", note=note), first.p95, second.p95)


_NO_FACTOR = "too few runs to bound a factor"
_WAITED = "no factor: the machine was busy, and the slowest runs waited for it"


def _percentile_interval(samples: Sequence[float], share: float) -> tuple[float, float] | None:
    """Return the 95 % interval of a percentile by order statistics; None where the samples do not reach around it."""
    ordered, count = sorted(samples), len(samples)
    half = 1.96 * math.sqrt(count * share * (1 - share))
    low, high = math.floor(count * share - half), math.ceil(count * share + half)
    return (ordered[low - 1], ordered[high - 1]) if low >= 1 and high <= count else None


def _throughput(original: ModelTimings, candidate: Shown) -> Saving | None:
    both = sorted(set(original.batches) & set(candidate.timings.batches))
    if not both:
        return None
    first, second = original.batches[both[-1]], candidate.timings.batches[both[-1]]
    before, after = first.throughput, second.throughput
    shown = quantity(before, "cases/s"), quantity(after, "cases/s")
    note = f"in batches of {both[-1]}, the runs that chose"
    gain = speed_gain(first, second)
    if gain is None:
        words = f"{after / before:.2f}× as many" if before else "no comparison"
        return _bars(Saving("throughput", *shown, words, "", note=note), -before, -after)
    saving = _bars(Saving("throughput", *shown, throughput_words(gain), "", note=note), -before, -after)
    return replace(saving, tone=_TONES[gain.verdict])


# A share by which a quantity may differ and is called neither better nor worse: a file's names alone take this much.
_SMALL = 0.02


def _bars(saving: Saving, before: float, after: float) -> Saving:
    """Add the tone and the bars; a quantity of which more is better comes in negative."""
    most = max(abs(before), abs(after)) or 1.0
    tone = "plain" if abs(after - before) <= _SMALL * abs(before) else "good" if after < before else "bad"
    return replace(saving, tone=tone, before_share=abs(before) / most, after_share=abs(after) / most)


def faster(before: float, after: float) -> str:
    """Say how much faster or slower `after` is, as "2.40× faster"."""
    if not before or not after:
        return "no comparison"
    if abs(before / after - 1) < 0.005:
        return "as fast"
    return f"{before / after:.2f}× faster" if after < before else f"{after / before:.2f}× slower"


def _metric(record: Record, candidate: Shown) -> Saving | None:
    """Take the main metric from the gate that judges it, else from tuning rows, and say which."""
    judged = _main_result(record, candidate)
    if judged:
        gate, result = judged
        pair, less = (result.original, result.candidate), is_less_better(gate)
        row = _compared(gate.metric, *pair, result.cases, "evaluation rows", less=less)
        return replace(row, judged=True)
    metric, quality = main_metric(record), candidate.quality
    before, after = metric.of_original(quality), metric.of(quality)
    if quality is None or before is None or metric.is_share:
        return None
    return _compared(metric.key, before, after, quality.rows, "tuning rows: compared, not judged", less=metric.less)


def _main_result(record: Record, candidate: Shown) -> tuple[Gate, GateResult] | None:
    gates = {gate.id: gate for gate in record.plan.contract.gates}
    results = candidate.judgement.results if candidate.judgement else ()
    whole = [(gates[result.gate], result) for result in results if result.gate in gates]
    whole = [(gate, result) for gate, result in whole if gate.slice == "all" and result.candidate is not None]
    for preset in ("retention", "gates", "clinical_relevance"):
        for gate, result in whole:
            if gate.preset == preset and gate.unit == "":
                return gate, result
    return None


def _compared(
    metric: str, before: float | None, after: float | None, cases: int | None, note: str, *, less: bool
) -> Saving:
    shown = [metric_with_cases(metric, value, cases) for value in (before, after)]
    name = metric.replace("_", " ")
    if before is None or after is None:
        return Saving(name, shown[0], shown[1], "against the original", "plain", note=note)
    change = after - before
    if abs(change) < 1e-12:
        return Saving(name, shown[0], shown[1], "unchanged", "plain", note=note)
    better = (change > 0) != less
    words = f"{'+' if change > 0 else '−'}{fraction(abs(change))}"
    return Saving(name, shown[0], shown[1], words, "good" if better else "bad", note=note)


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
    both = [(result.predicted.seconds, result.seconds) for result in results if result.predicted.seconds is not None]
    if not both:
        return Pair(NONE, NONE)
    return pair(sum(predicted for predicted, _ in both), sum(seconds for _, seconds in both), "s")


def loading(record: Record) -> Pair:
    """Add up what loading libraries took, which is in no step, beside what was predicted of those libraries."""
    results = [step.result for step in record.run.steps if step.result and step.result.loads]
    if not results:
        return Pair(NONE, NONE)
    predicted = sum(result.predicted.loads.get(name, 0.0) for result in results for name in result.loads)
    return pair(predicted, sum(seconds for result in results for seconds in result.loads.values()), "s")


@dataclass(frozen=True)
class PredictedRow:
    """A candidate's figures as predicted before they were measured, beside what was measured."""

    candidate: str
    size: Pair
    seconds: Pair
    memory: Pair
    basis: str


def predicted_rows(record: Record, candidates: Iterable[Shown]) -> tuple[PredictedRow, ...]:
    """Lay out what was predicted of each candidate that was measured; one of which nothing was predicted has no row."""
    return tuple(row for candidate in candidates if (row := _predicted_row(record, candidate)) is not None)


def _predicted_row(record: Record, candidate: Shown) -> PredictedRow | None:
    search = next((search for search in record.plan.searches if candidate.id in search.candidates), None)
    timing = None if search is None else candidate.timing(search.timing_batch)
    made, cost = _result(record, candidate.planned.model.rpartition(".")[0]), _cost(record, candidate)
    size = None if made is None else made.predicted.output_bytes
    if search is None or timing is None or (size is None and cost is None):
        return None
    bases = (made.predicted.basis_of("output_bytes") if made and size else "", cost.basis if cost else "")
    return PredictedRow(
        candidate.id,
        pair(size, candidate.record.size, "B", FILE_BYTES),
        pair(cost.seconds.get(str(search.timing_batch)) if cost else None, timing.p50, "s"),
        pair(cost.peak_bytes if cost else None, candidate.timings.peak_bytes, "B", MEMORY_BYTES),
        ", ".join(dict.fromkeys(basis for basis in bases if basis)),
    )


def predicted_size(record: Record, candidate: Shown) -> str:
    """Say what size was predicted for a candidate's file, "" where nothing was."""
    made = _result(record, candidate.planned.model.rpartition(".")[0])
    if made is None or made.predicted.output_bytes is None:
        return ""
    predicted = made.predicted
    return _beside_actual(predicted.output_bytes, candidate.record.size, "B", predicted.basis_of("output_bytes"))


def predicted_seconds(record: Record, candidate: Shown, batch: int, actual: float) -> str:
    """Say what latency was predicted for a batch of a candidate."""
    cost = _cost(record, candidate)
    return "" if cost is None else _beside_actual(cost.seconds.get(str(batch)), actual, "s", cost.basis)


def predicted_memory(record: Record, candidate: Shown, actual: float | None) -> str:
    """Say what peak memory was predicted for a candidate."""
    cost = _cost(record, candidate)
    return "" if cost is None else _beside_actual(cost.peak_bytes, actual, "B", cost.basis)


def _cost(record: Record, candidate: Shown) -> ModelCost | None:
    def predicted(step: str) -> Prediction | None:
        made = _result(record, step)
        return None if made is None else made.predicted

    cost = candidate_cost(candidate.id, record.plan.searches, predicted)
    return None if cost is None else cost[0]


def _result(record: Record, step: str) -> StepResult | None:
    return next((done.result for done in record.run.steps if done.step == step), None)


def _beside_actual(predicted: float | None, actual: float | None, unit: str, word: str) -> str:
    if predicted is None:
        return ""
    far = off(predicted, actual)
    return f"{quantity(predicted, unit)} predicted ({_SURE.get(word, word)})" + (f"; it is {far}" if far else "")

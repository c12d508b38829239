"""What a candidate saves: before, after and their ratio, one row a quantity; never one overall score."""

from dataclasses import dataclass, replace

from titrant.runtime.report.candidates import Shown, original_bytes
from titrant.runtime.report.predicted_actual import memory_told, seconds_told, size_told
from titrant.runtime.report.record_view import ModelTimings, Record
from titrant.runtime.report.words import fraction, metric_with_cases, quantity
from titrant.schema.gate import Gate, GateResult
from titrant.schema.plan import Search

LOWER_IS_BETTER = ("brier", "mae", "rmse", "perplexity")


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


def savings(record: Record, search: Search, candidate: Shown) -> tuple[Saving, ...]:
    """Compare a candidate with the original: size, latency, throughput, peak memory and the main metric."""
    original = record.values.timings.get("original", ModelTimings({}))
    memory = original.peak_bytes, candidate.timings.peak_bytes
    rows = (
        _told(
            _amount("size", original_bytes(record), candidate.record.size, "one file against the stored original"),
            size_told(record, candidate),
        ),
        *_latency(record, search.timing_batch, original, candidate),
        _throughput(original, candidate),
        _told(
            _amount(
                "peak memory", *memory, "resident memory added by loading the model and answering the largest batch"
            ),
            memory_told(record, candidate),
        ),
        _metric(record, candidate),
    )
    return tuple(row for row in rows if row)


def _told(saving: Saving | None, predicted: str) -> Saving | None:
    return saving and replace(saving, predicted=predicted)


def _amount(name: str, before: float | None, after: float | None, note: str) -> Saving | None:
    if after is None:
        return None
    if before is None:
        return Saving(name, "not measured", quantity(after, "B"), "nothing to compare with", "plain", note=note)
    words = f"{after / before:.2f} of the original" if before else "the original has none"
    return _bars(Saving(name, quantity(before, "B"), quantity(after, "B"), words, "", note=note), before, after)


def _latency(record: Record, batch: int, original: ModelTimings, candidate: Shown) -> tuple[Saving, ...]:
    first, second = original.batches.get(batch), candidate.timing(batch)
    if not first or not second:
        return ()
    threads = record.plan.timing_threads
    note = f"one batch of {batch}, " + ("one thread" if threads == 1 else f"{threads} threads")
    pairs = {"latency p50": (first.p50, second.p50), "latency p95": (first.p95, second.p95)}
    told = {"latency p50": seconds_told(record, candidate, batch, second.p50), "latency p95": ""}
    return tuple(
        _bars(
            Saving(name, quantity(was, "s"), quantity(now, "s"), faster(was, now), "", note=note, predicted=told[name]),
            was,
            now,
        )
        for name, (was, now) in pairs.items()
    )


def _throughput(original: ModelTimings, candidate: Shown) -> Saving | None:
    both = sorted(set(original.batches) & set(candidate.timings.batches))
    if not both:
        return None
    before, after = original.batches[both[-1]].throughput, candidate.timings.batches[both[-1]].throughput
    words = f"{after / before:.2f}× as many" if before else "no comparison"
    shown = quantity(before, "cases/s"), quantity(after, "cases/s")
    return _bars(Saving("throughput", *shown, words, "", note=f"in batches of {both[-1]}"), -before, -after)


def _bars(saving: Saving, before: float, after: float) -> Saving:
    """Add the tone and the bars; a quantity of which more is better comes in negative."""
    most = max(abs(before), abs(after)) or 1.0
    tone = "plain" if before == after else "good" if after < before else "bad"
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
        return _compared(gate.metric, result.original, result.candidate, result.cases, "evaluation rows")
    quality = candidate.quality
    if quality is None or quality.original.get("accuracy") is None:
        return None
    pair = quality.original["accuracy"], quality.candidate.get("accuracy")
    return _compared("accuracy", *pair, quality.rows, "tuning rows: compared, not judged")


def _main_result(record: Record, candidate: Shown) -> tuple[Gate, GateResult] | None:
    gates = {gate.id: gate for gate in record.plan.contract.gates}
    results = candidate.judgement.results if candidate.judgement else ()
    whole = [(gates[result.gate], result) for result in results if result.gate in gates]
    whole = [(gate, result) for gate, result in whole if gate.slice == "all" and result.candidate is not None]
    for wanted in ("retention", "gates", "clinical_relevance"):
        for gate, result in whole:
            if gate.preset == wanted and gate.unit == "":
                return gate, result
    return None


def _compared(metric: str, before: float | None, after: float | None, cases: int, note: str) -> Saving:
    shown = [metric_with_cases(metric, value, cases) for value in (before, after)]
    name = metric.replace("_", " ")
    if before is None or after is None:
        return Saving(name, shown[0], shown[1], "against the original", "plain", note=note)
    change = after - before
    if abs(change) < 1e-12:
        return Saving(name, shown[0], shown[1], "unchanged", "plain", note=note)
    better = (change > 0) != (metric in LOWER_IS_BETTER)
    words = f"{'+' if change > 0 else '−'}{fraction(abs(change))}"
    return Saving(name, shown[0], shown[1], words, "good" if better else "bad", note=note)

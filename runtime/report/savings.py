"""What a candidate saves: before, after and their ratio, one row a quantity; never one overall score."""

from dataclasses import dataclass

from titrant.runtime.report.candidates import Shown, original_bytes
from titrant.runtime.report.record_view import ModelTimings, Record
from titrant.runtime.report.words import fraction, metric_with_cases, quantity
from titrant.schema.gate import Gate, GateResult
from titrant.schema.plan import Search


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


def savings(record: Record, search: Search, candidate: Shown) -> tuple[Saving, ...]:
    """Compare a candidate with the original: size, latency, throughput, peak memory and the main metric."""
    original = record.values.timings.get("original", ModelTimings({}))
    batch = search.timing_batch
    rows = [_amount("size", "B", original_bytes(record), candidate.record.size, "one file against the stored original")]
    before, after = original.batches.get(batch), candidate.timing(batch)
    if before and after:
        note = f"one batch of {batch}, {_threads(record)}"
        rows += [_speed("latency p50", before.p50, after.p50, note), _speed("latency p95", before.p95, after.p95, note)]
    rows.append(_throughput(original, candidate))
    note = "resident memory added by loading the model and answering the largest batch"
    rows.append(_amount("peak memory", "B", original.peak_bytes, candidate.timings.peak_bytes, note))
    rows.append(_metric(record, candidate))
    return tuple(row for row in rows if row)


def _threads(record: Record) -> str:
    threads = record.plan.timing_threads
    return "one thread" if threads == 1 else f"{threads} threads"


def _amount(name: str, unit: str, before: float | None, after: float | None, note: str) -> Saving | None:
    if after is None:
        return None
    if before is None:
        return Saving(name, "not measured", quantity(after, unit), "nothing to compare with", "plain", note=note)
    words = f"{_ratio(after, before)} of the original"
    return _saving(name, quantity(before, unit), quantity(after, unit), words, before, after, after < before, note)


def _speed(name: str, before: float, after: float, note: str) -> Saving:
    words = faster(before, after)
    return _saving(name, quantity(before, "s"), quantity(after, "s"), words, before, after, after < before, note)


def _throughput(original: ModelTimings, candidate: Shown) -> Saving | None:
    both = sorted(set(original.batches) & set(candidate.timings.batches))
    if not both:
        return None
    batch = both[-1]
    before, after = original.batches[batch].throughput, candidate.timings.batches[batch].throughput
    words = f"{_ratio(after, before)}× as many"
    shown = quantity(before, "cases/s"), quantity(after, "cases/s")
    return _saving("throughput", *shown, words, before, after, after > before, f"in batches of {batch}")


def _saving(
    name: str, before: str, after: str, words: str, first: float, second: float, better: bool, note: str
) -> Saving:
    most = max(first, second) or 1.0
    tone = "plain" if first == second else "good" if better else "bad"
    return Saving(name, before, after, words, tone, first / most, second / most, note)


def faster(before: float, after: float) -> str:
    """Say how much faster or slower `after` is, as "2.4× faster"."""
    if not before or not after:
        return "no comparison"
    if abs(before / after - 1) < 0.005:
        return "as fast"
    return f"{before / after:.2f}× faster" if after < before else f"{after / before:.2f}× slower"


def _ratio(after: float, before: float) -> str:
    return f"{after / before:.2f}" if before else "–"


def _metric(record: Record, candidate: Shown) -> Saving | None:
    """Take the main metric from the gate that judges it, else from tuning rows, and say which."""
    judged = _main_result(record, candidate)
    if judged:
        gate, result = judged
        pair = [metric_with_cases(gate.metric, value, result.cases) for value in (result.original, result.candidate)]
        name = gate.metric.replace("_", " ")
        return _compared(name, *pair, result.original, result.candidate, "evaluation rows")
    quality = candidate.quality
    if quality is None or quality.original.get("accuracy") is None:
        return None
    before, after = quality.original["accuracy"], quality.candidate.get("accuracy")
    pair = [metric_with_cases("accuracy", value, quality.rows) for value in (before, after)]
    return _compared("accuracy", *pair, before, after, "tuning rows: compared, not judged")


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


def _compared(name: str, before: str, after: str, first: float | None, second: float | None, note: str) -> Saving:
    if first is None or second is None:
        return Saving(name, before, after, "against the original", "plain", note=note)
    change = second - first
    words = "unchanged" if abs(change) < 1e-12 else f"{'+' if change > 0 else '−'}{fraction(abs(change))}"
    tone = "plain" if abs(change) < 1e-12 else "good" if change > 0 else "bad"
    return Saving(name, before, after, words, tone, note=note)

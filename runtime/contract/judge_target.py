"""Judge the limits of `target`: what was timed and what was counted."""

from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.finding import Finding
from titrant.runtime.contract.order_statistic import METHOD, bounds
from titrant.runtime.contract.unassessable import Unassessable
from titrant.schema.cases import runs_for_percentile
from titrant.schema.gate import Gate
from titrant.schema.units import format_size, format_time

# Of the candidate and the original alone, after the choice: see docs/decisions/search.md.
TIMED_ANEW = ", of runs after the choice"
_SHARES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99, "throughput": 0.5}


def judge_timed(gate: Gate, evidence: Evidence) -> Finding:
    """Bound a percentile of the seconds of one batch, or the throughput at their median."""
    figures = evidence.figures
    if figures is None:
        raise Unassessable("it was not timed")
    if "failed" in figures:
        raise Unassessable(f"it failed while it was timed: {figures['failed']}")
    timing = figures.get(str(evidence.timing_batch))
    if timing is None:
        raise Unassessable(f"batch size {evidence.timing_batch} was not timed")
    share, runs = _SHARES[gate.metric], timing["samples"]
    lower, upper = bounds(runs, share, evidence.confidence)
    name = f"p{100 * share:.0f}"
    estimate = timing[name]
    before = (evidence.original_figures or {}).get(str(evidence.timing_batch), {}).get(name)
    observed = f"{name} of {len(runs)} runs at batch {evidence.timing_batch} is {format_time(estimate)}"
    if gate.metric == "throughput":
        batch = evidence.timing_batch
        estimate = batch / estimate
        lower, upper = (batch / upper if upper else None), (batch / lower if lower else None)
        observed = f"{estimate:,.0f} cases a second at the median of {len(runs)} runs at batch {batch}"
        before = batch / before if before else None
    deciding = lower if gate.metric == "throughput" else upper
    least = runs_for_percentile(share, evidence.confidence)
    missing = "" if deciding is not None else f"{len(runs)} runs, and {least} are needed to bound {name}"
    return Finding(
        estimate, lower, upper, before, estimate, len(runs), None, METHOD + TIMED_ANEW, observed,
        missing=missing, least=least, counted="runs",
    )  # fmt: skip


def judge_counted(gate: Gate, evidence: Evidence) -> Finding:
    """Compare a size that is known exactly, or the peak memory that was measured once."""
    if gate.metric == "size":
        value, method, before = evidence.size, "counted", None
    else:
        before = (evidence.original_figures or {}).get("peak_bytes")
        value, method = (evidence.figures or {}).get("peak_bytes"), "measured once"
    if value is None:
        why = "" if gate.metric == "size" else ": it is measured on Linux, on the CPU, with target.threads 1"
        raise Unassessable(f"the {gate.metric.replace('_', ' ')} is not known{why}")
    number = float(value)
    words = f"{gate.metric.replace('_', ' ')} is {format_size(int(value))}"
    return Finding(number, number, number, before, number, 1, None, method, words)

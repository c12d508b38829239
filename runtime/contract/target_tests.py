"""Tests of what the released model must fit: latency, throughput, size, memory."""

from titrant.runtime.contract import order_statistic
from titrant.runtime.contract.evidence import Evidence, Finding, nothing
from titrant.schema.gate import Gate

SHARES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}


def timed(gate: Gate, evidence: Evidence) -> Finding:
    """Bound a percentile of the time of one batch, or the throughput that its median gives."""
    if evidence.timing is None:
        return nothing("it was not timed")
    samples = evidence.timing["samples"]
    share = SHARES.get(gate.metric, 0.5)
    lower, upper = order_statistic.bounds(samples, share, evidence.confidence)
    figure = {0.5: "p50", 0.95: "p95", 0.99: "p99"}[share]
    estimate = evidence.timing[figure]
    before = None if evidence.original_timing is None else evidence.original_timing[figure]
    method = f"order statistics of {len(samples)} timed runs at batch {evidence.batch}"
    if gate.metric == "throughput":
        fastest, slowest = (evidence.batch / bound if bound else None for bound in (lower, upper))
        before = evidence.batch / before if before else None
        rate = evidence.batch / estimate
        return Finding(rate, slowest, fastest, before, rate, len(samples), None, method)
    return Finding(estimate, lower, upper, before, estimate, len(samples), None, method)


def counted(gate: Gate, evidence: Evidence) -> Finding:
    """Compare a number that is exact: the file's size, or the memory that was measured."""
    number = evidence.size_bytes if gate.metric == "size" else evidence.peak_bytes
    if number is None:
        return nothing("the system does not tell")
    value = float(number)
    method = "bytes of the released file" if gate.metric == "size" else "resident memory that the model added"
    return Finding(value, value, value, None, value, 1, None, method)

"""Read the figures that choose candidates out of what steps answered."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from titrant.runtime.execution.search import Figures, Limit
from titrant.schema.gate import Contract
from titrant.schema.plan import Candidate, Search

_LIMITED = ("size", "latency_p50", "latency_p95", "latency_p99", "throughput", "peak_memory")


def figures(
    candidate: Candidate, search: Search, size: int, quality: Mapping[str, Any], timings: Mapping[str, Any]
) -> Figures:
    """Gather one candidate's figures; `quality` and `timings` are what validate.measure and profile.latency gave."""
    timing = timings.get(candidate.id, {})
    batch = timing.get(str(search.timing_batch), {})
    retention, agreement = quality.get("retention"), quality.get("agreement")
    metric, original = _main_metric(quality)
    return Figures(
        candidate=candidate.id,
        rank=candidate.rank,
        size=size,
        latency=batch.get("p50"),
        interval=median_interval(batch.get("samples", ())),
        latency_p95=batch.get("p95"),
        latency_p99=batch.get("p99"),
        throughput=batch.get("throughput"),
        peak_memory=timing.get("peak_bytes"),
        quality=retention if retention is not None else agreement,
        agreement=agreement,
        original=original if metric else None,
        rows=int(quality.get("rows", 0)),
    )


def _main_metric(quality: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the main metric and the original's value: classification accuracy, where it was measured."""
    value = quality.get("original", {}).get("accuracy")
    return ("accuracy", value) if value is not None else ("", None)


def median_interval(samples: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of a median by order statistics of sorted samples; None below six."""
    count = len(samples)
    if count < 6:
        return None
    half = 1.96 * math.sqrt(count) / 2
    low, high = math.floor(count / 2 - half), math.ceil(count / 2 + half)
    return samples[max(low, 0)], samples[min(high, count - 1)]


def limits(contract: Contract) -> tuple[Limit, ...]:
    """Return the gates that the same figures will decide."""
    return tuple(
        Limit(gate.metric, gate.comparison, gate.threshold)
        for gate in contract.gates
        if gate.preset == "target" and gate.metric in _LIMITED and gate.comparison in ("at_most", "at_least")
    )


def retention_asked(contract: Contract) -> float | None:
    """Return the threshold of the retention preset, None where the contract has none."""
    return next((gate.threshold for gate in contract.gates if gate.preset == "retention"), None)


def shown(item: Figures) -> dict[str, float]:
    """Return the figures that a candidate's record keeps: seconds, bytes, cases per second, fractions."""
    named = {
        "latency_p50": item.latency,
        "latency_p95": item.latency_p95,
        "latency_p99": item.latency_p99,
        "throughput": item.throughput,
        "peak_memory": item.peak_memory,
        "quality": item.quality,
        "agreement": item.agreement,
    }
    return {name: float(value) for name, value in named.items() if value is not None}

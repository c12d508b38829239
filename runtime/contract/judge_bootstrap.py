"""Judge a metric without a closed test by resampling: F1, balanced accuracy, precision against the original's."""

import numpy as np

from titrant.runtime.contract.bootstrap import LEAST_CHANGED, METHOD, bounds
from titrant.runtime.contract.clusters import unit_count
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.finding import Finding
from titrant.runtime.contract.metrics import METRICS
from titrant.runtime.contract.slices import Slice, look
from titrant.runtime.contract.unassessable import Unassessable
from titrant.schema.gate import Gate


def judge_bootstrap(gate: Gate, evidence: Evidence) -> Finding:
    """Bound what is compared from 2,000 resamples of the units; fewer than 20 changed cases leave it open."""
    cases = look(evidence, gate.metric, gate.slice)
    every = np.arange(len(cases.labels))
    before, after = _both(gate.metric, cases, every)
    estimate = _compared(gate.comparison, before, after)
    if before is None or after is None or estimate is None:
        raise Unassessable(f"{gate.metric} is not defined for these cases")
    absolute = gate.comparison in ("at_least", "at_most")
    other = cases.labels if absolute else cases.original.decisions
    changed = unit_count(cases.units[cases.candidate.decisions != other])
    observed = f"{gate.metric.replace('_', ' ')}{cases.words} {before:.4f} → {after:.4f} over {len(every)} cases"
    found = None
    missing = f"{changed} changed cases, and the bootstrap needs at least {LEAST_CHANGED}"
    if changed >= LEAST_CHANGED:
        generator = np.random.default_rng(evidence.seed)
        found = bounds(
            lambda chosen: _compared(gate.comparison, *_both(gate.metric, cases, chosen)),
            estimate, cases.units, evidence.confidence, generator,
        )  # fmt: skip
        missing = "" if found else f"{gate.metric} is not defined for some resamples: too few cases"
    lower, upper = found or (None, None)
    return Finding(
        estimate, lower, upper, before, after, len(every), changed, METHOD, observed, missing=missing,
        units=unit_count(cases.units),
    )  # fmt: skip


def _both(metric: str, cases: Slice, chosen: np.ndarray) -> tuple[float | None, float | None]:
    compute = METRICS[metric]
    labels = cases.labels[chosen]
    return (
        compute(cases.original.of(chosen), labels, cases.positive),
        compute(cases.candidate.of(chosen), labels, cases.positive),
    )


def _compared(comparison: str, before: float | None, after: float | None) -> float | None:
    if before is None or after is None:
        return None
    match comparison:
        case "retention":
            return after / before if before else None
        case "drop_at_most":
            return before - after
        case "rise_at_most":
            return after - before
    return after

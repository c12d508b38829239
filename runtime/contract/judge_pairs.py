"""Judge a proportion of the candidate against the original's, case by case: retention, drop and rise."""

from dataclasses import dataclass

import numpy as np

from titrant.runtime.contract import paired_difference, score_ratio
from titrant.runtime.contract.clusters import shrink, unit_count
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.finding import Finding
from titrant.runtime.contract.metrics import hits
from titrant.runtime.contract.pairs import Pairs, pairs
from titrant.runtime.contract.slices import look
from titrant.runtime.contract.unassessable import Unassessable
from titrant.schema.gate import Gate

CLUSTERED = ", rows of one unit counted as fewer cases"


@dataclass(frozen=True)
class Paired:
    """Which counted cases either model has right, and how to say it; arrays are (counted,)."""

    original: np.ndarray
    candidate: np.ndarray
    units: np.ndarray
    observed: str

    @property
    def counts(self) -> Pairs:
        """The four counts, of rows."""
        return pairs(self.original, self.candidate)


def paired(metric: str, slice_: str, evidence: Evidence) -> Paired:
    """Gather the cases that a proportion counts; Unassessable where it counts none."""
    cases = look(evidence, metric, slice_)
    if cases.positive is None and metric != "accuracy":
        raise Unassessable(f"{metric} needs a class: name data.positive, or use the slice `class X`")
    counted, before = hits(metric, cases.original.decisions, cases.labels, cases.positive)
    _, after = hits(metric, cases.candidate.decisions, cases.labels, cases.positive)
    original, candidate = before[counted], after[counted]
    if not len(original):
        raise Unassessable(f"no case{cases.words} counts for {metric}")
    counts = pairs(original, candidate)
    observed = (
        f"{metric}{cases.words} {original.mean():.4f} → {candidate.mean():.4f}: "
        f"{counts.lost} lost and {counts.gained} gained of {len(original)} cases"
    )
    return Paired(original, candidate, cases.units[counted], observed)


def judge_retention(gate: Gate, evidence: Evidence) -> Finding:
    """Bound the ratio of the two proportions by the score test, or exactly where few cases change."""
    found = paired(gate.metric, gate.slice, evidence)
    old, new = float(found.original.mean()), float(found.candidate.mean())
    if not old:
        raise Unassessable(f"the original's {gate.metric} is 0, and there is nothing to retain")
    counts, clustered = _effective(found, new / old, evidence.confidence)
    lower, method = score_ratio.lower_bound(counts, evidence.confidence)

    def proves(times: float) -> bool:
        return score_ratio.lower_bound(counts.times(times), evidence.confidence)[0] >= gate.threshold

    return Finding(
        new / old, lower, score_ratio.upper_bound(counts, evidence.confidence), old, new, len(found.original),
        int(found.counts.changed), method + clustered, found.observed,
        clean="" if found.counts.lost else "no loss", units=unit_count(found.units), proves_with=proves,
    )  # fmt: skip


def judge_difference(gate: Gate, evidence: Evidence) -> Finding:
    """Bound the drop (original - candidate) or the rise of a proportion."""
    found = paired(gate.metric, gate.slice, evidence)
    old, new = float(found.original.mean()), float(found.candidate.mean())
    counts, clustered = _effective(found, None, evidence.confidence)
    if gate.comparison == "drop_at_most":
        # A drop is the rise as seen from the candidate.
        counts = Pairs(counts.both, counts.gained, counts.lost, counts.neither)
    estimate = new - old if gate.comparison == "rise_at_most" else old - new
    upper, method = paired_difference.upper_bound(counts, evidence.confidence)
    lower, _ = paired_difference.lower_bound(counts, evidence.confidence)

    def proves(times: float) -> bool:
        return paired_difference.upper_bound(counts.times(times), evidence.confidence)[0] <= gate.threshold

    changed = int(found.counts.changed)
    return Finding(
        estimate, lower, upper, old, new, len(found.original), changed, method + clustered, found.observed,
        clean="" if changed else "no change", units=unit_count(found.units), proves_with=proves,
    )  # fmt: skip


def _effective(found: Paired, ratio: float | None, confidence: float) -> tuple[Pairs, str]:
    """Return the counts with a unit's rows counted as fewer cases; the residual is that of the ratio or difference."""
    if unit_count(found.units) == len(found.units):
        return found.counts, ""
    new, old = found.candidate.astype(float), found.original.astype(float)
    residuals = new - old * ratio if ratio is not None else (new - old) - (new - old).mean()
    factor = shrink(residuals, found.original != found.candidate, found.units, confidence)
    return found.counts.times(factor), CLUSTERED

"""Judge proportions, Brier score, AUROC and bootstrapped metrics such as F1 against the original's on the same cases.

All but proportions may also be judged without the original, against an absolute limit.
"""

from dataclasses import dataclass

import numpy as np

from titrant.runtime.contract.evidence import Evidence, SliceAnswers, Unassessable, slice_answers
from titrant.runtime.contract.metrics import METRICS, brier_of_cases, hits
from titrant.runtime.contract.statistics.auroc import (
    DELONG,
    LEAST_DISCORDANT,
    LEAST_POSITIVE,
    Areas,
    difference_bounds,
    paired_areas,
    ratio_bounds,
)
from titrant.runtime.contract.statistics.means import (
    BETTING,
    BOOTSTRAP,
    LEAST_CHANGED,
    bootstrap_bounds,
    mean_lower_bound,
    mean_upper_bound,
    refutes,
)
from titrant.runtime.contract.statistics.proportions import (
    Pairs,
    crossing,
    paired_difference_lower_bound,
    paired_difference_upper_bound,
    paired_ratio_lower_bound,
    paired_ratio_upper_bound,
    pairs,
    shrink,
    unit_count,
)
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.gate import Gate, slice_of
from titrant.schema.values.slice import Slice

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


def paired(metric: str, among: Slice, evidence: Evidence) -> Paired:
    """Gather the cases that a proportion counts; Unassessable where it counts none."""
    cases = slice_answers(evidence, metric, among)
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


def judge_retention(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the ratio of the two proportions by the score test, or exactly where few cases change."""
    outcomes = paired(gate.metric, slice_of(gate), evidence)
    old, new = float(outcomes.original.mean()), float(outcomes.candidate.mean())
    if not old:
        raise Unassessable(f"the original's {gate.metric} is 0, and there is nothing to retain")
    counts, clustered = _effective(outcomes, new / old, evidence.confidence)
    lower, method = paired_ratio_lower_bound(counts, evidence.confidence)

    def proves(times: float) -> bool:
        return paired_ratio_lower_bound(counts.times(times), evidence.confidence)[0] >= gate.threshold

    return GateEstimate(
        new / old, lower, paired_ratio_upper_bound(counts, evidence.confidence), old, new,
        len(outcomes.original), int(outcomes.counts.changed), method + clustered, outcomes.observed,
        clean="" if outcomes.counts.lost else "no loss", units=unit_count(outcomes.units), proves_with=proves,
    )  # fmt: skip


def judge_difference(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the drop (original - candidate) or the rise of a proportion."""
    outcomes = paired(gate.metric, slice_of(gate), evidence)
    old, new = float(outcomes.original.mean()), float(outcomes.candidate.mean())
    counts, clustered = _effective(outcomes, None, evidence.confidence)
    if gate.comparison == "drop_at_most":
        # A drop is the rise as seen from the candidate.
        counts = Pairs(counts.both, counts.gained, counts.lost, counts.neither)
    estimate = new - old if gate.comparison == "rise_at_most" else old - new
    upper, method = paired_difference_upper_bound(counts, evidence.confidence)
    lower, _ = paired_difference_lower_bound(counts, evidence.confidence)

    def proves(times: float) -> bool:
        return paired_difference_upper_bound(counts.times(times), evidence.confidence)[0] <= gate.threshold

    changed = int(outcomes.counts.changed)
    return GateEstimate(
        estimate, lower, upper, old, new, len(outcomes.original), changed, method + clustered, outcomes.observed,
        clean="" if changed else "no change", units=unit_count(outcomes.units), proves_with=proves,
    )  # fmt: skip


def _effective(outcomes: Paired, ratio: float | None, confidence: float) -> tuple[Pairs, str]:
    """Return the counts with a unit's rows counted as fewer cases; the residual is that of the ratio or difference."""
    if unit_count(outcomes.units) == len(outcomes.units):
        return outcomes.counts, ""
    new, old = outcomes.candidate.astype(float), outcomes.original.astype(float)
    residuals = new - old * ratio if ratio is not None else (new - old) - (new - old).mean()
    factor = shrink(residuals, outcomes.original != outcomes.candidate, outcomes.units, confidence)
    return outcomes.counts.times(factor), CLUSTERED


# A case's Brier score moves by rounding on every case; what moves by less than this is not called changed.
CHANGED = 1e-3
_LARGEST_RATIO = 1000.0


def judge_brier(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the mean over cases of what is compared; one case's score lies in 0..1."""
    cases = slice_answers(evidence, gate.metric, slice_of(gate))
    old, new = (
        brier_of_cases(answers.probabilities, cases.labels, cases.positive)
        for answers in (cases.original, cases.candidate)
    )
    before, after = float(old.mean()), float(new.mean())
    moved = int((np.abs(new - old) > CHANGED).sum())
    words = f"the Brier score{cases.words} goes from {before:.4f} to {after:.4f} over {len(new)} cases"
    if gate.comparison == "retention":
        estimate, lower, upper = _brier_retention(old, new, cases.units, evidence.confidence)
        units = unit_count(cases.units)
        return GateEstimate(estimate, lower, upper, before, after, len(new), moved, BETTING, words, units=units)
    values, lowest = {
        "rise_at_most": (new - old, -1.0),
        "drop_at_most": (old - new, -1.0),
        "at_most": (new, 0.0),
        "at_least": (new, 0.0),
    }[gate.comparison]
    lower = mean_lower_bound(values, cases.units, evidence.confidence, lowest)
    upper = mean_upper_bound(values, cases.units, evidence.confidence)

    def proves(times: float) -> bool:
        if gate.comparison == "at_least":
            return refutes(-values, cases.units, -gate.threshold, evidence.confidence, highest=-lowest, times=times)
        return refutes(values, cases.units, gate.threshold, evidence.confidence, times=times)

    return GateEstimate(
        float(values.mean()), lower, upper, before, after, len(new), moved, BETTING, words,
        clean="" if moved else "no change", units=unit_count(cases.units), proves_with=proves,
    )  # fmt: skip


def _brier_retention(
    old: np.ndarray, new: np.ndarray, units: np.ndarray, confidence: float
) -> tuple[float, float, float | None]:
    """Return original / candidate (smaller is better) with its bounds, from refuted signs of mean(r · new - old)."""
    if not new.mean():
        raise Unassessable("the candidate's Brier score is 0")
    estimate = float(old.mean() / new.mean())

    def proven_above(ratio: float) -> bool:
        return refutes(ratio * new - old, units, 0.0, confidence, highest=ratio)

    def proven_below(ratio: float) -> bool:
        return refutes(old - ratio * new, units, 0.0, confidence)

    lower = crossing(lambda ratio: 1.0 if proven_above(ratio) else -1.0, 1e-9, estimate) if estimate else 0.0
    if not proven_below(_LARGEST_RATIO):
        return estimate, lower, None
    return estimate, lower, crossing(lambda ratio: -1.0 if proven_below(ratio) else 1.0, estimate, _LARGEST_RATIO)


# comparison → the factor of the original's area in candidate - factor · original
_FACTORS = {"at_least": 0.0, "at_most": 0.0, "rise_at_most": 1.0, "drop_at_most": 1.0}


def judge_auroc(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the area, its difference or its ratio; too few positive or discordant cases leave it open."""
    cases = slice_answers(evidence, gate.metric, slice_of(gate))
    if cases.positive is None:
        raise Unassessable("the ROC curve needs a class: name data.positive, or use the slice `class X`")
    positive = cases.labels == cases.positive
    if not positive.any() or positive.all():
        raise Unassessable(f"all cases{cases.words} are of one kind, and there is no ROC curve")
    scores = [answers.probabilities[:, cases.positive] for answers in (cases.original, cases.candidate)]
    areas = paired_areas(scores[0], scores[1], positive, cases.units)
    estimate, lower, upper = _area_bounds(gate, areas, evidence.confidence)
    count = min(unit_count(cases.units[positive]), unit_count(cases.units[~positive]))
    decides = areas.misranked if gate.comparison in ("at_least", "at_most") else areas.discordant
    return GateEstimate(
        estimate, lower, upper, areas.original, areas.candidate, len(positive), decides, DELONG,
        f"AUROC{cases.words} {areas.original:.4f} → {areas.candidate:.4f}",
        missing=_too_few_for_auroc(count, decides, cases), units=unit_count(cases.units),
    )  # fmt: skip


def _area_bounds(gate: Gate, areas: Areas, confidence: float) -> tuple[float, float, float]:
    if gate.comparison == "retention":
        if not areas.original:
            raise Unassessable("the original's area is 0")
        return (areas.candidate / areas.original, *ratio_bounds(areas, confidence))
    factor = _FACTORS[gate.comparison]
    lower, upper = difference_bounds(areas, factor, confidence)
    estimate = areas.candidate - factor * areas.original
    return (-estimate, -upper, -lower) if gate.comparison == "drop_at_most" else (estimate, lower, upper)


def _too_few_for_auroc(count: int, decides: int, cases: SliceAnswers) -> str:
    if count < LEAST_POSITIVE:
        return f"{count} cases on the smaller side of {cases.positive_name}, and at least {LEAST_POSITIVE} are needed"
    if decides < LEAST_DISCORDANT:
        return f"{decides} cases decide the test, and at least {LEAST_DISCORDANT} are needed"
    return ""


def judge_bootstrap(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound what is compared from 2,000 resamples of the units; fewer than 20 changed cases leave it open."""
    cases = slice_answers(evidence, gate.metric, slice_of(gate))
    every = np.arange(len(cases.labels))
    before, after = _both_values(gate.metric, cases, every)
    estimate = compared(gate.comparison, before, after)
    if before is None or after is None or estimate is None:
        raise Unassessable(f"{gate.metric} is not defined for these cases")
    absolute = gate.comparison in ("at_least", "at_most")
    other = cases.labels if absolute else cases.original.decisions
    changed = unit_count(cases.units[cases.candidate.decisions != other])
    observed = f"{gate.metric.replace('_', ' ')}{cases.words} {before:.4f} → {after:.4f} over {len(every)} cases"
    bounds = None
    missing = f"{changed} changed cases, and the bootstrap needs at least {LEAST_CHANGED}"
    if changed >= LEAST_CHANGED:
        generator = np.random.default_rng(evidence.seed)
        bounds = bootstrap_bounds(
            lambda chosen: compared(gate.comparison, *_both_values(gate.metric, cases, chosen)),
            estimate, cases.units, evidence.confidence, generator,
        )  # fmt: skip
        missing = "" if bounds else f"{gate.metric} is not defined for some resamples: too few cases"
    lower, upper = bounds or (None, None)
    return GateEstimate(
        estimate, lower, upper, before, after, len(every), changed, BOOTSTRAP, observed, missing=missing,
        units=unit_count(cases.units),
    )  # fmt: skip


def _both_values(metric: str, cases: SliceAnswers, chosen: np.ndarray) -> tuple[float | None, float | None]:
    compute = METRICS[metric]
    labels = cases.labels[chosen]
    return (
        compute(cases.original.of(chosen), labels, cases.positive),
        compute(cases.candidate.of(chosen), labels, cases.positive),
    )


def compared(comparison: str, before: float | None, after: float | None) -> float | None:
    """Return what a comparison looks at, of a metric on the original and on the candidate; None where one is none."""
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

"""Judge proportions, Brier score, AUROC and bootstrapped metrics such as F1 against the original's on the same cases.

All but proportions may also be judged without the original, against an absolute limit.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from titrant.runtime.contract.evidence import Evidence, SliceAnswers, slice_answers
from titrant.runtime.contract.influence import compare_metrics, fewest_changed, resample
from titrant.runtime.contract.metrics import METRICS, brier_of_cases, hits
from titrant.runtime.contract.statistics.auroc import (
    DELONG,
    PLACEMENTS,
    Areas,
    difference_bounds,
    paired_areas,
    ratio_bounds,
)
from titrant.runtime.contract.statistics.compared import (
    RIGHT_OR_WRONG,
    ComparedMeans,
    compare_at_any_time,
    compare_means,
)
from titrant.runtime.contract.statistics.means import BETTING, BOOTSTRAP, LEAST_CHANGED, bootstrap_bounds
from titrant.runtime.contract.statistics.proportions import (
    Pairs,
    paired_difference_lower_bound,
    paired_difference_upper_bound,
    paired_ratio_lower_bound,
    paired_ratio_upper_bound,
    pairs,
)
from titrant.runtime.contract.statistics.units import NEARLY_SINGLE, effective_share, unit_count
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.contract.verdict import GateEstimate, meets
from titrant.schema.cases import LEAST_OF_A_CLASS
from titrant.schema.gate import SMALLER_IS_BETTER, Gate, slice_of
from titrant.schema.values.slice import Slice

CLUSTERED = ", rows of one unit counted as fewer cases"
WHOLE_UNITS = ", over units that may fail whole"
AT_ANY_LOOK = ", at any number of looks"
BY_CLASS = " of what a row of each class could change"


@dataclass(frozen=True)
class Paired:
    """Which counted cases either model has right, and how to say it; arrays are (counted,), `places` among all rows."""

    original: np.ndarray
    candidate: np.ndarray
    units: np.ndarray
    observed: str
    places: np.ndarray

    @property
    def counts(self) -> Pairs:
        """The four counts, of rows."""
        return pairs(self.original, self.candidate)


def paired(metric: str, among: Slice, evidence: Evidence) -> Paired:
    """Gather the cases that a proportion counts; Unassessable where it counts none."""
    key = ("paired", metric, among)
    if key not in evidence.made:
        evidence.made[key] = _paired(metric, among, evidence)
    outcomes: Paired = evidence.made[key]
    return outcomes


def _paired(metric: str, among: Slice, evidence: Evidence) -> Paired:
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
    return Paired(original, candidate, cases.units[counted], observed, cases.places[counted])


def judge_retention(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the ratio of the two proportions by the score test, or exactly where few cases change."""
    outcomes = paired(gate.metric, slice_of(gate), evidence)
    if not outcomes.original.any():
        raise Unassessable(f"the original's {gate.metric} is 0, and there is nothing to retain")
    factor = effective_share(outcomes.units, 1 - gate.threshold)
    if evidence.always_valid or factor < NEARLY_SINGLE:
        return _by_betting(gate, outcomes, evidence)
    old, new = float(outcomes.original.mean()), float(outcomes.candidate.mean())
    counts = outcomes.counts.times(factor)
    lower, method = paired_ratio_lower_bound(counts, evidence.confidence)

    def proves(times: float) -> bool:
        return paired_ratio_lower_bound(counts.times(times), evidence.confidence)[0] >= gate.threshold

    return GateEstimate(
        new / old, lower, paired_ratio_upper_bound(counts, evidence.confidence), old, new,
        len(outcomes.original), int(outcomes.counts.changed), method + (CLUSTERED if factor < 1 else ""),
        outcomes.observed, clean="" if outcomes.counts.lost else "no loss", units=unit_count(outcomes.units),
        proves_with=proves,
    )  # fmt: skip


def judge_difference(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the drop (original - candidate) or the rise of a proportion."""
    outcomes = paired(gate.metric, slice_of(gate), evidence)
    factor = effective_share(outcomes.units, gate.threshold)
    if evidence.always_valid or factor < NEARLY_SINGLE:
        return _by_betting(gate, outcomes, evidence)
    old, new = float(outcomes.original.mean()), float(outcomes.candidate.mean())
    counts = outcomes.counts.times(factor)
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
        estimate, lower, upper, old, new, len(outcomes.original), changed, method + (CLUSTERED if factor < 1 else ""),
        outcomes.observed, clean="" if changed else "no change", units=unit_count(outcomes.units), proves_with=proves,
    )  # fmt: skip


def by_bets(
    gate: Gate,
    evidence: Evidence,
    original: np.ndarray,
    candidate: np.ndarray,
    units: np.ndarray,
    *,
    corners: np.ndarray = RIGHT_OR_WRONG,
) -> tuple[ComparedMeans, float | None]:
    """Compare values by bets, by default from 0 to 1; in an open look by such as hold at any time, with the p-value."""
    values, confidence = (original, candidate, units), evidence.confidence
    if not evidence.always_valid:
        return compare_means(gate.comparison, *values, confidence=confidence, corners=corners), None
    means = compare_at_any_time(gate.comparison, *values, confidence=confidence, corners=corners)
    return means, p_value(means.log_wealth(gate.threshold))


def p_value(log_wealth: float) -> float:
    """Return one over the wealth, at most 1 (Markov's inequality, at any time Ville's)."""
    return math.exp(-max(log_wealth, 0.0))


def _by_betting(gate: Gate, outcomes: Paired, evidence: Evidence) -> GateEstimate:
    """Bound a proportion whose units have several rows each, any of which may fail whole, or in an open look."""
    old, new = outcomes.original.astype(np.float64), outcomes.candidate.astype(np.float64)
    means, least_rate = by_bets(gate, evidence, old, new, outcomes.units)
    before, after = float(old.mean()), float(new.mean())
    estimate = compared(gate.comparison, before, after)
    lower, upper = means.bounds()
    counts = outcomes.counts
    against = counts.changed if gate.comparison != "retention" else counts.lost
    return GateEstimate(
        estimate, lower, upper, before, after, len(old), int(counts.changed),
        BETTING + (AT_ANY_LOOK if evidence.always_valid else WHOLE_UNITS), outcomes.observed,
        clean="" if against else "no loss" if gate.comparison == "retention" else "no change",
        units=unit_count(outcomes.units), proves_with=means.proving(gate.threshold),
        p_value=least_rate,
    )  # fmt: skip


# A case's Brier score moves by rounding on every case; what moves by less than this is not called changed.
CHANGED = 1e-3
# Further from 1 the scores of a case are no probabilities, and a case's Brier score may exceed 1.
_SUM_OFF = 0.02


def judge_brier(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the mean over cases of what is compared; one case's score lies in 0..1."""
    cases = slice_answers(evidence, gate.metric, slice_of(gate))
    for name, answers in (("original", cases.original), ("candidate", cases.candidate)):
        sums = answers.probabilities.sum(axis=1)
        furthest = float(sums[np.abs(sums - 1).argmax()])
        # Of two classes one column is judged, whatever the other holds.
        if answers.probabilities.shape[1] > 2 and abs(furthest - 1) > _SUM_OFF:
            raise Unassessable(
                f"the {name}'s scores of a case add up to {furthest:.4g}, and only probabilities have a Brier score"
            )
    old, new = (
        np.minimum(brier_of_cases(answers.probabilities, cases.labels, cases.positive), 1.0)
        for answers in (cases.original, cases.candidate)
    )
    before, after = float(old.mean()), float(new.mean())
    moved = int((np.abs(new - old) > CHANGED).sum())
    words = f"the Brier score{cases.words} goes from {before:.4f} to {after:.4f} over {len(new)} cases"
    if gate.comparison == "retention" and not after:
        raise Unassessable("the candidate's Brier score is 0")
    # Smaller is better: what is retained is original / candidate.
    first, second = (new, old) if gate.comparison == "retention" else (old, new)
    estimate = compared(gate.comparison, float(first.mean()), float(second.mean()))
    means, least_rate = by_bets(gate, evidence, first, second, cases.units)
    lower, upper = means.bounds()
    return GateEstimate(
        estimate, lower, upper, before, after, len(new), moved,
        BETTING + (AT_ANY_LOOK if evidence.always_valid else ""), words,
        clean="" if moved or gate.comparison == "retention" else "no change", units=unit_count(cases.units),
        proves_with=means.proving(gate.threshold), p_value=least_rate,
    )  # fmt: skip


# comparison → the factor of the original's area in candidate - factor · original
_FACTORS = {"at_least": 0.0, "at_most": 0.0, "rise_at_most": 1.0, "drop_at_most": 1.0}


def judge_auroc(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the area, its difference or its ratio; too few positive or discordant cases leave it open."""
    _refuse_open(evidence)
    cases = slice_answers(evidence, gate.metric, slice_of(gate))
    if cases.positive is None:
        raise Unassessable("the ROC curve needs a class: name data.positive, or use the slice `class X`")
    positive = cases.labels == cases.positive
    if not positive.any() or positive.all():
        raise Unassessable(f"all cases{cases.words} are of one kind, and there is no ROC curve")
    scores = [answers.probabilities[:, cases.positive] for answers in (cases.original, cases.candidate)]
    areas = paired_areas(scores[0], scores[1], positive, cases.units)
    return area_finding(gate, evidence, areas, (positive, cases.units), cases)


def area_finding(
    gate: Gate, evidence: Evidence, areas: Areas, sides: tuple[np.ndarray, np.ndarray], cases: SliceAnswers
) -> GateEstimate:
    """Bound what a gate compares of two areas.

    `sides` are which of the rows in them are positive, (rows,) bool, and the unit of each, (rows,).
    """
    positive, units = sides
    estimate, lower, upper = _area_bounds(gate, areas, evidence.confidence)
    placed = [
        _side_means(gate, areas.placements[:, side], units[side], evidence.confidence) for side in (positive, ~positive)
    ]
    for bound_low, bound_high in (side.bounds() for side in placed):
        lower, upper = min(lower, bound_low), max(upper, math.inf if bound_high is None else bound_high)

    def proves(times: float) -> bool:
        sampled = _area_bounds(gate, areas.times(times), evidence.confidence)
        worst = sampled[2] if gate.comparison in SMALLER_IS_BETTER else sampled[1]
        return meets(gate, worst) and all(side.proves(gate.threshold, times) for side in placed)

    count = min(unit_count(units[positive]), unit_count(units[~positive]))
    decides = areas.misranked if gate.comparison in ("at_least", "at_most") else areas.discordant
    missing = (
        ""
        if count >= LEAST_OF_A_CLASS
        else f"{count} cases on the smaller side of {cases.positive_name}, and at least {LEAST_OF_A_CLASS} are needed"
    )
    return GateEstimate(
        estimate, lower, upper, areas.original, areas.candidate, len(positive), decides, f"{DELONG}, {PLACEMENTS}",
        f"AUROC{cases.words} {areas.original:.4f} → {areas.candidate:.4f}", missing=missing,
        clean="" if areas.discordant else "no change of rank", units=unit_count(units), proves_with=proves,
    )  # fmt: skip


def _side_means(gate: Gate, placements: np.ndarray, units: np.ndarray, confidence: float) -> ComparedMeans:
    return compare_means(gate.comparison, placements[0], placements[1], units, confidence=confidence)


def _area_bounds(gate: Gate, areas: Areas, confidence: float) -> tuple[float, float, float]:
    if gate.comparison == "retention":
        if not areas.original:
            raise Unassessable("the original's area is 0")
        return (areas.candidate / areas.original, *ratio_bounds(areas, confidence))
    factor = _FACTORS[gate.comparison]
    lower, upper = difference_bounds(areas, factor, confidence)
    estimate = areas.candidate - factor * areas.original
    return (-estimate, -upper, -lower) if gate.comparison == "drop_at_most" else (estimate, lower, upper)


def judge_bootstrap(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound what is compared from 2,000 resamples, or by bets on the rows where a class has seen too few changes.

    The resamples tell nothing of what did not happen yet: each class that the metric reads needs 20 changed cases, and
    each row must be a unit of its own.
    """
    _refuse_open(evidence)
    cases = slice_answers(evidence, gate.metric, slice_of(gate))
    count, compute = len(cases.labels), METRICS[gate.metric]
    before, after = (compute(answers, cases.labels, cases.positive) for answers in (cases.original, cases.candidate))
    estimate = compared(gate.comparison, before, after)
    if before is None or after is None or estimate is None:
        raise Unassessable(f"{gate.metric} is not defined for these cases")
    absolute = gate.comparison in ("at_least", "at_most")
    other = cases.labels if absolute else cases.original.decisions
    differing = cases.candidate.decisions != other
    observed = f"{gate.metric.replace('_', ' ')}{cases.words} {before:.4f} → {after:.4f} over {count} cases"
    finding = GateEstimate(
        estimate, None, None, before, after, count, unit_count(cases.units[differing]), BOOTSTRAP, observed,
        clean="" if differing.any() else "no miss" if absolute else "no change", units=unit_count(cases.units),
    )  # fmt: skip
    if finding.units == count and fewest_changed(gate.metric, cases, other) >= LEAST_CHANGED:
        old, new = resample(gate.metric, cases, evidence.seed)
        changes = {"retention": new / old, "drop_at_most": old - new, "rise_at_most": new - old}
        bounds = bootstrap_bounds(changes.get(gate.comparison, new), estimate, evidence.confidence)
        if bounds is not None:
            return replace(finding, lower=bounds[0], upper=bounds[1])
    means = compare_metrics(gate.metric, gate.comparison, cases, evidence.confidence)
    lower, upper = means.bounds()
    return replace(
        finding, lower=lower, upper=upper, method=BETTING + BY_CLASS,
        proves_with=means.proving(gate.threshold),
    )  # fmt: skip


def _refuse_open(evidence: Evidence) -> None:
    """Judge by no bound that holds for planned looks only where they are open."""
    if evidence.always_valid:
        raise Unassessable("no bound of it holds at any number of looks (validation.looks: open)")


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

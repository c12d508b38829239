"""Judge by strata, such as sites: score tests whose variance is each stratum's, and areas within strata.

See docs/decisions/strata.md for the tests that hold for rows of several strata as they are.
"""

from dataclasses import replace

import numpy as np

from titrant.runtime.contract.evidence import Evidence, select, slice_answers
from titrant.runtime.contract.judge import Tests, adjusted, harm
from titrant.runtime.contract.paired_tests import (
    Paired,
    area_finding,
    judge_auroc,
    judge_difference,
    judge_retention,
    paired,
)
from titrant.runtime.contract.statistics.strata import (
    counts_by_stratum,
    difference_bounds,
    joined,
    ratio_bounds,
    stratified_areas,
)
from titrant.runtime.contract.statistics.units import NEARLY_SINGLE, effective_share, unit_count
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.gate import Gate, slice_of
from titrant.schema.recipe.data import STRATA
from titrant.schema.samples.paired import FEW_CHANGED

BY_STRATUM = ", by stratum"


def judge_stratified_retention(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the ratio by the worse of the test of all rows and the one with each stratum's own variance."""
    finding = judge_retention(gate, evidence)
    outcomes, strata = _outcomes(gate, evidence)
    parts = counts_by_stratum(outcomes.original, outcomes.candidate, strata)
    if not _scored(evidence, outcomes, 1 - gate.threshold) or len(parts) < 2:
        return _with_harm(finding, evidence, outcomes, strata)
    factor = effective_share(outcomes.units, 1 - gate.threshold)
    parts = [part.times(factor) for part in parts]
    return _with_harm(_worse(finding, ratio_bounds(parts, evidence.confidence)), evidence, outcomes, strata)


def judge_stratified_difference(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the drop or rise likewise."""
    finding = judge_difference(gate, evidence)
    outcomes, strata = _outcomes(gate, evidence)
    parts = counts_by_stratum(outcomes.original, outcomes.candidate, strata)
    if not _scored(evidence, outcomes, gate.threshold) or len(parts) < 2:
        return _with_harm(finding, evidence, outcomes, strata)
    factor = effective_share(outcomes.units, gate.threshold)
    low, high = difference_bounds([part.times(factor) for part in parts], evidence.confidence)
    bounds = (-high, -low) if gate.comparison == "drop_at_most" else (low, high)
    return _with_harm(_worse(finding, bounds), evidence, outcomes, strata)


def judge_stratified_auroc(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the area within strata: no positive of one is compared with a negative of another."""
    cases = slice_answers(evidence, gate.metric, slice_of(gate))
    strata = _strata(gate, evidence)
    if len(strata) != len(cases.labels):  # the slice of a class names it: the rows are all
        strata = _all_strata(evidence)
    strata = joined(strata, cases.units)
    if len(np.unique(strata)) < 2 or cases.positive is None or evidence.always_valid:
        return judge_auroc(gate, evidence)
    positive = cases.labels == cases.positive
    scores = tuple(answers.probabilities[:, cases.positive] for answers in (cases.original, cases.candidate))
    within = stratified_areas((scores[0], scores[1]), positive, cases.units, strata)
    if within is None:
        raise Unassessable("no stratum has cases of both kinds, and there is no ROC curve within one")
    areas, kept = within
    finding = area_finding(gate, evidence, areas, (positive[kept], cases.units[kept]), cases)
    left = int((~kept).sum())
    words = f"; {left} cases in strata with one class are in no pair" if left else ""
    return replace(finding, method=finding.method + BY_STRATUM, observed=finding.observed + words)


STRATIFIED: Tests = {
    "score_ratio": judge_stratified_retention,
    "paired_difference": judge_stratified_difference,
    "delong": judge_stratified_auroc,
}


def _all_strata(evidence: Evidence) -> np.ndarray:
    return np.asarray(evidence.rows.subgroups[STRATA])


def _strata(gate: Gate, evidence: Evidence) -> np.ndarray:
    """Return the stratum of each row of a gate's slice (rows,)."""
    chosen, _ = select(evidence, slice_of(gate))
    return _all_strata(evidence)[chosen]


def _outcomes(gate: Gate, evidence: Evidence) -> tuple[Paired, np.ndarray]:
    """Return the counted cases and the joined stratum of each."""
    outcomes = paired(gate.metric, slice_of(gate), evidence)
    return outcomes, joined(_all_strata(evidence)[outcomes.places], outcomes.units)


def _scored(evidence: Evidence, outcomes: Paired, loss: float) -> bool:
    """Whether a score test decides, rather than bets or an exact bound, which hold for rows of any strata."""
    counts = outcomes.counts
    by_bets = evidence.always_valid or effective_share(outcomes.units, loss) < NEARLY_SINGLE
    return not by_bets and counts.changed >= FEW_CHANGED and bool(counts.lost) and bool(counts.gained)


def _worse(finding: GateEstimate, bounds: tuple[float, float]) -> GateEstimate:
    lower = bounds[0] if finding.lower is None else min(finding.lower, bounds[0])
    upper = bounds[1] if finding.upper is None else max(finding.upper, bounds[1])
    return replace(finding, lower=lower, upper=upper, method=finding.method + BY_STRATUM)


def _with_harm(finding: GateEstimate, evidence: Evidence, outcomes: Paired, strata: np.ndarray) -> GateEstimate:
    """Say which strata are shown to be harmed, of those with enough cases to be judged, and named, by themselves."""
    names = evidence.rows.subgroup_values[STRATA]
    places = _all_strata(evidence)[outcomes.places]
    p_values: dict[str, float] = {}
    for number in np.unique(strata):
        inside = strata == number
        if unit_count(outcomes.units[inside]) < evidence.named_from:
            continue
        if len(values := np.unique(places[inside])) == 1 and values[0] >= 0:
            _, index = np.unique(outcomes.units[inside], return_inverse=True)
            lost = outcomes.original[inside].astype(float) - outcomes.candidate[inside]
            net = np.bincount(index, weights=lost)
            p_values[names[values[0]]] = harm(int((net > 0).sum()), int((net < 0).sum()))
    corrected = zip(p_values, adjusted(tuple(p_values.values())), strict=True) if p_values else ()
    harmed = [f"{name} (p = {p_value:.2g})" for name, p_value in corrected if p_value <= 1 - evidence.confidence]
    if not harmed:
        return finding
    words = f"; harmed in the stratum {', '.join(harmed)}, by sign tests after Holm's correction for {len(p_values)}"
    return replace(finding, observed=finding.observed + words)

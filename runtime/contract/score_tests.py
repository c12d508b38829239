"""Tests of what is no proportion: Brier score, area under the ROC curve, and metrics that need a bootstrap."""

import numpy as np

from titrant.runtime.contract import auroc, betting, bootstrap
from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, Finding, nothing
from titrant.runtime.contract.metrics import METRICS, brier_of_cases
from titrant.runtime.contract.proportion_tests import BY_UNIT, ratio_by_betting, unit_means
from titrant.runtime.contract.slices import cases_of, positive_of
from titrant.schema.gate import Gate

LEAST_POSITIVE, LEAST_DISCORDANT = 30, 10


def brier(gate: Gate, evidence: Evidence) -> Finding:
    """Bound the Brier score, or its paired rise, drop or retention (original over new: smaller is better)."""
    old, new, labels, cases = _labelled(gate, evidence)
    if not cases.any():
        return nothing("no case of this kind")
    units = evidence.rows.units[cases]
    before = unit_means(brier_of_cases(old.probabilities, labels, evidence.rows.positive)[cases], units)
    after = unit_means(brier_of_cases(new.probabilities, labels, evidence.rows.positive)[cases], units)
    rise = after - before
    level = float(before.mean()), float(after.mean())
    changed = int((np.abs(rise) > 1e-3).sum())
    method = BY_UNIT if evidence.clustered else "betting bound of Waudby-Smith and Ramdas (2024)"
    words = f"{changed} of {len(rise)} cases changed by more than 0.001"
    if gate.comparison == "retention":
        if not level[1]:
            return Finding(1.0, 1.0, 1.0, *level, len(rise), changed, "the new score is zero", words)
        lower, upper = ratio_by_betting(before, after, evidence.confidence)
        return Finding(level[0] / level[1], lower, upper, *level, len(rise), changed, method, words)
    values = {"rise_at_most": rise, "drop_at_most": -rise}.get(gate.comparison, after)
    lower, upper = betting.mean_bounds(values, evidence.confidence)
    return Finding(float(values.mean()), lower, upper, *level, len(rise), changed, method, words)


def area(gate: Gate, evidence: Evidence) -> Finding:
    """Bound the area under the ROC curve, or its paired change."""
    old, new, labels, cases = _labelled(gate, evidence)
    positive = positive_of(gate, evidence.rows)
    if positive is None or old.probabilities.shape[1] != 2:
        return nothing("the area under the ROC curve needs a positive class")
    ill = labels[cases] == positive
    count = int(ill.sum())
    if not count or count == len(ill):
        return nothing("one class only", len(ill))
    scores = [answers.probabilities[cases, positive] for answers in (new, old)]
    areas = auroc.paired_areas(scores[0], scores[1], ill)
    discordant = int((np.argsort(np.argsort(scores[0])) != np.argsort(np.argsort(scores[1]))).sum())
    finding = _area_finding(gate, areas, evidence.confidence, len(ill), discordant)
    few = f"{count} positive cases" if min(count, len(ill) - count) < LEAST_POSITIVE else ""
    if not few and gate.comparison not in ("at_least", "at_most") and 0 < discordant < LEAST_DISCORDANT:
        few = f"{discordant} cases in another order"
    if evidence.clustered:
        few = "several cases of one unit"
    if few:
        why = f"DeLong's variance is not trusted with {few}"
        return Finding(finding.estimate, None, None, areas.original, areas.new, len(ill), discordant, why)
    return finding


def _area_finding(gate: Gate, areas: auroc.PairedAreas, confidence: float, cases: int, discordant: int) -> Finding:
    if gate.comparison == "retention":
        estimate = areas.new / areas.original if areas.original else None
        lower, upper = auroc.ratio_bounds(areas, confidence)
    elif gate.comparison in ("drop_at_most", "rise_at_most"):
        estimate = areas.new - areas.original
        lower, upper = auroc.difference_bounds(areas, confidence)
        if gate.comparison == "drop_at_most":
            estimate, lower, upper = -estimate, -upper, -lower
    else:
        estimate = areas.new
        lower, upper = auroc.area_bounds(areas, confidence)
    method = "paired test of DeLong, DeLong and Clarke-Pearson (1988)"
    return Finding(estimate, lower, upper, areas.original, areas.new, cases, discordant, method)


def resampled(gate: Gate, evidence: Evidence) -> Finding:
    """Bound a metric without a closed test by the bootstrap, on twenty or more changed cases only."""
    old, new, labels, cases = _labelled(gate, evidence)
    positive = positive_of(gate, evidence.rows)
    where = np.flatnonzero(cases)
    metric = METRICS[gate.metric]

    def compare(index: np.ndarray) -> float | None:
        chosen = where[index]
        before, after = (metric(answers.of(chosen), labels[chosen], positive) for answers in (old, new))
        if before is None or after is None:
            return None
        return {
            "retention": after / before if before else None,
            "drop_at_most": before - after,
            "rise_at_most": after - before,
        }.get(gate.comparison, after)

    estimate = compare(np.arange(len(where)))
    before, after = (metric(answers.of(where), labels[where], positive) for answers in (old, new))
    changed = int((old.decisions[where] != new.decisions[where]).sum())
    if estimate is None or changed < bootstrap.LEAST_CHANGED:
        why = f"the bootstrap needs {bootstrap.LEAST_CHANGED} changed cases, and there are {changed}"
        return Finding(estimate, None, None, before, after, len(where), changed, why)
    lower, upper = bootstrap.bounds(compare, evidence.rows.units[where], evidence.confidence, evidence.generator)
    method = f"percentile bootstrap by unit, {bootstrap.RESAMPLES} resamples"
    return Finding(estimate, lower, upper, before, after, len(where), changed, method)


def _labelled(gate: Gate, evidence: Evidence) -> tuple[Answers, Answers, np.ndarray, np.ndarray]:
    if evidence.original is None or evidence.candidate is None or evidence.rows.labels is None:
        raise KeyError("labels")
    judged = evidence.original if gate.preset == "baseline" else evidence.candidate
    return evidence.original, judged, evidence.rows.labels, cases_of(gate, evidence.rows)

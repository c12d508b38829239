"""Tests of proportions: one model's, both models' ratio or difference, and two groups' ratio."""

import numpy as np

from titrant.runtime.contract import betting, binomial, group_ratio, score_ratio
from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, Finding, nothing
from titrant.runtime.contract.metrics import hits
from titrant.runtime.contract.slices import cases_of, pair_of, positive_of
from titrant.schema.gate import Gate

BY_UNIT = "betting bound on the units' means (cases of a unit are not independent)"


def share(gate: Gate, evidence: Evidence) -> Finding:
    """Bound one share: accuracy, sensitivity, specificity, precision, or how often the candidate does the same."""
    counted, right = _share_of(gate, evidence)
    counted = counted & cases_of(gate, evidence.rows)
    if not counted.any():
        return nothing("no case of this kind")
    before = _before(gate, evidence, counted)
    good, cases = int(right[counted].sum()), int(counted.sum())
    words = f"{cases - good} of {cases} {'lost' if gate.metric == 'kept' else 'not so'}"
    if evidence.clustered:
        values = unit_means(right[counted].astype(float), evidence.rows.units[counted])
        lower, upper = betting.mean_bounds(values, evidence.confidence)
        estimate = float(values.mean())
        return Finding(estimate, max(lower, 0.0), min(upper, 1.0), before, estimate, len(values), None, BY_UNIT, words)
    lower, upper = binomial.bounds(good, cases, evidence.confidence)
    method = "exact bound of Clopper and Pearson (1934)"
    return Finding(good / cases, lower, upper, before, good / cases, cases, cases - good, method, words)


def _share_of(gate: Gate, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Return which cases count, and which of all cases are as they should be."""
    if gate.metric == "agreement":
        return np.ones(len(evidence.rows), bool), evidence.alike
    old, new, labels = _labelled(evidence)
    if gate.metric == "same_decision":
        return np.ones(len(labels), bool), old.decisions == new.decisions
    if gate.metric == "kept":
        return old.decisions == labels, new.decisions == labels
    judged = old if gate.preset == "baseline" else new
    if gate.metric == "precision":
        positive = positive_of(gate, evidence.rows)
        return judged.decisions == positive, labels == positive
    return hits(gate.metric, judged.decisions, labels, positive_of(gate, evidence.rows))


def _before(gate: Gate, evidence: Evidence, counted: np.ndarray) -> float | None:
    if gate.metric in ("agreement", "same_decision", "kept"):
        return 1.0
    old, _, labels = _labelled(evidence)
    if gate.metric == "precision":
        return None
    _, right = hits(gate.metric, old.decisions, labels, positive_of(gate, evidence.rows))
    return float(right[counted].mean())


def retention(gate: Gate, evidence: Evidence) -> Finding:
    """Bound the ratio of a proportion, candidate over original, on the same cases."""
    counted, old, new = _paired(gate, evidence)
    if not counted.any():
        return nothing("no case of this kind")
    before, after = float(old[counted].mean()), float(new[counted].mean())
    pairs = pairs_of(old[counted], new[counted])
    words = f"{pairs.lost} lost and {pairs.gained} gained of {pairs.cases}"
    if not before:
        return Finding(
            None, None, None, before, after, pairs.cases, pairs.changed, "the original is never right", words
        )
    if evidence.clustered:
        units = evidence.rows.units[counted]
        lower, upper = ratio_by_betting(
            unit_means(new[counted].astype(float), units), unit_means(old[counted].astype(float), units),
            evidence.confidence,
        )  # fmt: skip
        cases = len(np.unique(units))
        return Finding(after / before, lower, upper, before, after, cases, pairs.changed, BY_UNIT, words)
    lower, upper, method = score_ratio.ratio_bounds(pairs, evidence.confidence)
    return Finding(pairs.ratio, lower, upper, before, after, pairs.cases, pairs.changed, method, words)


def difference(gate: Gate, evidence: Evidence) -> Finding:
    """Bound the drop (or rise) of a proportion, on the same cases."""
    counted, old, new = _paired(gate, evidence)
    if not counted.any():
        return nothing("no case of this kind")
    pairs = pairs_of(old[counted], new[counted])
    change = new[counted].astype(float) - old[counted].astype(float)
    if gate.comparison == "drop_at_most":
        change = -change
    values = unit_means(change, evidence.rows.units[counted])
    lower, upper = betting.mean_bounds(values, evidence.confidence)
    return Finding(
        float(values.mean()), lower, upper, float(old[counted].mean()), float(new[counted].mean()), len(values),
        pairs.changed, "betting bound of Waudby-Smith and Ramdas (2024)",
        f"{pairs.lost} lost and {pairs.gained} gained of {pairs.cases}",
    )  # fmt: skip


def groups(gate: Gate, evidence: Evidence) -> Finding:
    """Bound the ratio of the candidate's proportion in one group over that in another."""
    old, new, labels = _labelled(evidence)
    counted, right = hits(gate.metric, new.decisions, labels, evidence.rows.positive)
    _, before = hits(gate.metric, old.decisions, labels, evidence.rows.positive)
    first, second = (part & counted for part in pair_of(gate, evidence.rows))
    sizes = tuple(len(np.unique(evidence.rows.units[part])) for part in (first, second))
    fewest = min(sizes)
    if not fewest:
        return nothing("a group has no case of this kind")
    rates = [float(right[part].mean()) for part in (first, second)]
    earlier = [float(before[part].mean()) for part in (first, second)]
    if evidence.clustered:
        # A unit counts as right only if all its cases are: one unit, one trial.
        x = tuple(int(_all_right(right[part], evidence.rows.units[part]).sum()) for part in (first, second))
    else:
        x = tuple(int(right[part].sum()) for part in (first, second))
    lower, upper = group_ratio.bounds((x[0], x[1]), (sizes[0], sizes[1]), evidence.confidence)
    ratio = rates[0] / rates[1] if rates[1] else None
    words = f"{rates[0]:.3f} in {sizes[0]} against {rates[1]:.3f} in {sizes[1]} cases"
    original = earlier[0] / earlier[1] if earlier[1] else None
    method = "score bound of Miettinen and Nurminen (1985)"
    return Finding(ratio, lower, upper, original, ratio, fewest, None, method, words)


def _all_right(right: np.ndarray, units: np.ndarray) -> np.ndarray:
    _, numbers = np.unique(units, return_inverse=True)
    whole: np.ndarray = np.bincount(numbers, weights=~right) == 0
    return whole


def _paired(gate: Gate, evidence: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    old, new, labels = _labelled(evidence)
    positive = positive_of(gate, evidence.rows)
    counted, before = hits(gate.metric, old.decisions, labels, positive)
    _, after = hits(gate.metric, new.decisions, labels, positive)
    return counted & cases_of(gate, evidence.rows), before, after


def _labelled(evidence: Evidence) -> tuple[Answers, Answers, np.ndarray]:
    if evidence.original is None or evidence.candidate is None or evidence.rows.labels is None:
        raise KeyError("labels")
    return evidence.original, evidence.candidate, evidence.rows.labels


def pairs_of(old: np.ndarray, new: np.ndarray) -> score_ratio.Pairs:
    """Count paired cases from who was right; both (cases,) bool."""
    return score_ratio.Pairs(
        int((old & new).sum()), int((~old & new).sum()), int((old & ~new).sum()), int((~old & ~new).sum())
    )


def unit_means(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Average the cases of each unit; (units,) float, in the order in which units first appear."""
    _, first, numbers = np.unique(units, return_index=True, return_inverse=True)
    means = np.bincount(numbers, weights=values) / np.bincount(numbers)
    ordered: np.ndarray = means[np.argsort(first)]
    return ordered


def ratio_by_betting(new: np.ndarray, old: np.ndarray, confidence: float) -> tuple[float, float]:
    """Bound mean(new) / mean(old) for paired numbers in 0..1: the ratios r at which mean(new - r old) may be zero."""

    def sign(ratio: float) -> tuple[float, float]:
        scale = max(1.0, ratio)
        return betting.mean_bounds((new - ratio * old) / scale, confidence)

    def crossing(which: int) -> float:
        low, high = 1e-6, 1e3
        for _ in range(50):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if sign(middle)[which] > 0 else (low, middle)
        return low

    return crossing(0), crossing(1)

"""Judge gates on what cases score: a mean of one model, of both compared, of two subgroups, and of what is refused."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, in_subgroup
from titrant.runtime.contract.paired_tests import AT_ANY_LOOK, p_value
from titrant.runtime.contract.statistics.means import BOOTSTRAP
from titrant.runtime.contract.statistics.units import NEARLY_SINGLE, effective_share, unit_count
from titrant.runtime.contract.tasks.cases import CaseAnswers
from titrant.runtime.contract.tasks.multilabel import THRESHOLD, MultilabelAnswers
from titrant.runtime.contract.tasks.quantiles import QuantileClaims
from titrant.runtime.contract.tasks.scores import CaseClaims, CaseScores, Unassessable, compared
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.gate import Gate, slice_of
from titrant.schema.recipe.tasks import CASE_METRICS, OF_ONE_LABEL, SET_METRICS
from titrant.schema.values.slice import Slice

if TYPE_CHECKING:
    from titrant.runtime.contract.tasks.sets import ImageSet

_WORDS = {"all": "", "class": " in class {among.class_name}", "subgroup": " in {among.subgroup}"}
# Two groups share what may go wrong.
GUARDED = ", and no better than if images failed that have not been seen to"
_OF_EACH = " for each group, half the error each (Bonferroni)"


def of_one_label(gate: Gate, evidence: Evidence) -> Evidence:
    """Return the evidence that a gate looks at: that on one of several labels, where it is about one.

    Unassessable where such a gate names no label, and none is critical.
    """
    cases = evidence.cases
    if gate.metric not in (*OF_ONE_LABEL, "kept") or not isinstance(cases, MultilabelAnswers):
        return evidence
    among, critical = slice_of(gate), evidence.rows.positive
    named = among.class_name or (evidence.rows.classes[critical] if critical is not None else "")
    if not named:
        raise Unassessable(f"{gate.metric} is about one label: name it by the slice `class X`")
    if ("label", named) not in evidence.made:
        rows, *probabilities = cases.one_label(named)
        old, new = (
            Answers(np.stack([1 - values, values], axis=1), (values >= THRESHOLD).astype(np.int64))
            for values in probabilities
        )
        alike = old.decisions == new.decisions
        evidence.made["label", named] = replace(
            evidence, rows=rows, original=old, candidate=new, alike=alike, cases=None, permuted_alike=None, places={}
        )
    of_label: Evidence = evidence.made["label", named]
    return of_label


def judge_cases(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound what a gate compares of the mean of what cases score."""
    scores = slice_scores(gate.metric, slice_of(gate), evidence)
    estimate = compared(scores, gate.comparison)
    if estimate is None or scores.unseen:
        raise Unassessable(scores.unseen or _undefined(gate, scores))
    if evidence.always_valid and gate.test == "case_quantiles":
        raise Unassessable("no bound of it holds at any number of looks (validation.looks: open)")
    claims = _claims(scores, gate.comparison, evidence.confidence, always_valid=evidence.always_valid)
    if evidence.always_valid and effective_share(scores.units, 0.5) < NEARLY_SINGLE:
        raise Unassessable("no bound of it holds at any number of looks where rows come in units")
    lower, upper = claims.bounds()
    changed = scores.candidate != scores.original if scores.changed is None else scores.changed
    rises, falls = scores.candidate > scores.original, scores.candidate < scores.original
    worse = rises if scores.less_is_better else falls
    name = gate.metric.replace("_", " ")
    observed = f"{name}{scores.words} {scores.before:.6g} → {scores.after:.6g} over {scores.counted:,} cases"
    return GateEstimate(
        estimate, lower, upper, scores.before, scores.after, scores.counted, int(changed.sum()),
        claims.method + (AT_ANY_LOOK if evidence.always_valid else ""), observed,
        clean="" if worse.any() else "no loss", units=unit_count(scores.units),
        proves_with=lambda times: claims.proves(gate.threshold, times),
        p_value=p_value(claims.log_wealth(gate.threshold))
        if evidence.always_valid and isinstance(claims, CaseClaims) else None,
    )  # fmt: skip


def _undefined(gate: Gate, scores: CaseScores) -> str:
    """Say why there is nothing to compare."""
    before = scores.before
    if gate.comparison == "retention" and before is not None and before <= 0 and not scores.rule.less_is_better:
        return f"the original's {gate.metric}{scores.words} is {before:.6g}, and a ratio to it has no meaning"
    return f"{gate.metric} is not defined for these cases"


def _claims(
    scores: CaseScores, comparison: str, confidence: float, *, always_valid: bool = False
) -> CaseClaims | QuantileClaims:
    if scores.rule.link == "quantile":
        return QuantileClaims(scores, comparison, confidence)
    return CaseClaims(scores, comparison, confidence, always_valid=always_valid)


def judge_case_groups(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the ratio of the candidate's metric in one subgroup to that in another; what is better is larger."""
    if evidence.always_valid:
        raise Unassessable("no bound of it holds at any number of looks (validation.looks: open)")
    first, second = (slice_scores(gate.metric, side, evidence) for side in slice_of(gate).sides())
    over, under = (second, first) if first.rule.less_is_better else (first, second)
    halved = 1 - (1 - evidence.confidence) / 2
    claims = [_claims(side, "at_least", halved) for side in (over, under)]
    bounds = [side.bounds() for side in claims]
    numerator, denominator = over.after, under.after
    if first.unseen or second.unseen:
        raise Unassessable(first.unseen or second.unseen)
    if numerator is None or not denominator:
        raise Unassessable(f"{gate.metric} is not defined for these cases")
    observed = (
        f"{gate.metric.replace('_', ' ')} {first.after:.6g}{first.words} over {first.counted:,} cases and "
        f"{second.after:.6g}{second.words} over {second.counted:,}"
    )
    fewest = min(unit_count(side.units) for side in (first, second))
    return GateEstimate(
        numerator / denominator,
        _ratio(bounds[0][0], bounds[1][1]), _ratio(bounds[0][1], bounds[1][0]), first.after, second.after,
        min(first.counted, second.counted), None, claims[0].method + _OF_EACH, observed, units=fewest,
    )  # fmt: skip


def judge_set(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound what is compared of a whole set's metric; see `ImageSet.bounds`."""
    if evidence.always_valid:
        raise Unassessable("no bound of it holds at any number of looks (validation.looks: open)")
    images = image_set_of(gate, evidence)
    if images is None:
        raise Unassessable("there are no boxes")
    among, inside = slice_of(gate), images.inside
    before, after, estimate = images.once()
    if not np.isfinite((before, after, estimate)).all():
        raise Unassessable(f"{gate.metric} is not defined for these cases: no label is there, or the original has 0")
    if images.unseen:
        raise Unassessable(images.unseen)
    lower, upper = images.bounds(evidence.confidence, evidence.seed)
    words, count = _WORDS[among.kind].format(among=among), int(inside.sum())
    observed = f"{gate.metric.replace('_', ' ')}{words} {before:.4f} → {after:.4f} over {count:,} images"
    return GateEstimate(
        estimate, lower, upper, before, after, count, images.changed, BOOTSTRAP + GUARDED, observed,
        clean="" if images.changed else "no change", counted="images", units=unit_count(evidence.rows.units[inside]),
    )  # fmt: skip


def image_set_of(gate: Gate, evidence: Evidence) -> "ImageSet | None":
    """Gather the boxes of both models that a gate on a whole set looks at; None where the answers are no boxes."""
    from titrant.runtime.contract.tasks.detection import DetectionAnswers  # with what matches boxes, which few need
    from titrant.runtime.contract.tasks.sets import image_set

    if not isinstance(evidence.cases, DetectionAnswers):
        return None
    among = slice_of(gate)
    inside = in_subgroup(evidence, among) if among.kind == "subgroup" else np.ones(len(evidence.rows), bool)
    return image_set(evidence.cases, gate.metric, gate.comparison, inside, among.class_name)


def _ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below


def slice_scores(metric: str, among: Slice, evidence: Evidence) -> CaseScores:
    """Return what the cases of a slice score; Unassessable when there are none, or the metric is not defined there."""
    if evidence.cases is None:
        raise Unassessable("there are no labels")
    key = ("scores", metric, among)
    if key not in evidence.made:
        places = np.arange(len(evidence.rows))
        if among.kind == "subgroup":
            places = np.flatnonzero(in_subgroup(evidence, among))
        if not len(places):
            raise Unassessable(f"there are no cases in {among.subgroup}")
        scored = evidence.cases.scores(metric, places, among.class_name)
        evidence.made[key] = replace(scored, words=_WORDS[among.kind].format(among=among))
    scores: CaseScores = evidence.made[key]
    return scores


def allowed_loss(gate: Gate, scores: CaseScores) -> float | None:
    """Return the loss of the mean score that a gate allows; None where it compares with no other model."""
    mean = float(np.average(scores.original, weights=scores.weights))
    link, kept = scores.rule.link, gate.threshold
    if link == "quantile":
        # Where more cases than lie above it are as bad as can be, so is the quantile.
        against_original = gate.comparison in ("retention", "rise_at_most")
        return (1 - scores.rule.share) * worst_loss(scores) if against_original else None
    if gate.comparison in ("drop_at_most", "rise_at_most"):
        return kept * (float(scores.spread.mean()) if scores.spread is not None else 1.0)
    if scores.rule.beside_original and gate.comparison == "at_least":
        return mean - kept
    if gate.comparison != "retention" or not kept:
        return None
    if link == "exponential":
        return -math.log(kept)
    if link == "explained" and scores.spread is not None:
        return (1 - kept) * (float(scores.spread.mean()) - mean)
    if scores.rule.less_is_better:
        return mean * (kept ** (-2 if link == "root" else -1) - 1)
    return mean * (1 - kept)


def worst_loss(scores: CaseScores) -> float:
    """Return by how much the mean score falls, or rises where less is better, if every case is as bad as can be."""
    mean = float(np.average(scores.original, weights=scores.weights))
    return scores.high - mean if scores.less_is_better else mean - scores.low


# Which share of the units in some rows is chosen to be broken: (units, rows to choose from, those, share, seed).
ChooseUnits = Callable[[np.ndarray, np.ndarray, np.ndarray, float, int], np.ndarray]


def is_by_case(gate: Gate, evidence: Evidence) -> bool:
    """Whether a gate looks at what cases score."""
    return evidence.cases is not None and gate.metric in (*CASE_METRICS, *SET_METRICS)


def permuted_cases(evidence: Evidence) -> CaseAnswers | None:
    """Give every row the original's answer to another one."""
    if evidence.cases is None:
        return None
    return evidence.cases.permuted(np.random.default_rng(evidence.seed).permutation(len(evidence.rows)))


def broken_cases(
    gate: Gate, evidence: Evidence, choose: ChooseUnits, *, times: float, least: float
) -> tuple[CaseAnswers, float] | None:
    """Break so many cases that the mean loses `times` what the gate allows, `least` of them at least, and their share.

    None where there is nothing to break, or the gate compares with no other model.
    """
    among = slice_of(gate).sides()[0] if gate.comparison == "ratio_at_least" else slice_of(gate)
    if gate.metric in SET_METRICS:
        return _broken_set(gate, evidence, choose, times=times, least=least)
    try:
        scores = slice_scores(gate.metric, among, evidence)
    except Unassessable:
        return None  # the gate itself says what is missing
    allowed, worst = allowed_loss(gate, scores), worst_loss(scores)
    if gate.comparison == "ratio_at_least":
        allowed = worst * max(1 - gate.threshold, 1 - scores.rule.share if scores.rule.link == "quantile" else 0.0)
    if allowed is None or worst <= 0 or evidence.cases is None:
        return None
    share = min(1.0, max(least, times * allowed / worst))
    inside = _inside(among, evidence)
    rows = choose(evidence.rows.units, inside, inside, share, evidence.seed)
    return _broken(evidence.cases, rows, among), share


def _broken(cases: CaseAnswers, rows: np.ndarray, among: Slice) -> CaseAnswers:
    return cases.broken(rows, among.class_name) if among.kind == "class" else cases.broken(rows)


def _broken_set(
    gate: Gate, evidence: Evidence, choose: ChooseUnits, *, times: float, least: float
) -> tuple[CaseAnswers, float] | None:
    """Break `times` the share that a comparison with the original allows; each image is about as much of the set."""
    if gate.comparison in ("at_least", "at_most") or evidence.cases is None:
        return None
    allowed = gate.threshold if gate.comparison in ("drop_at_most", "rise_at_most") else 1 - gate.threshold
    share = min(1.0, max(least, times * allowed))
    inside = _inside(slice_of(gate), evidence)
    rows = choose(evidence.rows.units, inside, inside, share, evidence.seed)
    return _broken(evidence.cases, rows, slice_of(gate)), share


def _inside(among: Slice, evidence: Evidence) -> np.ndarray:
    if among.kind != "subgroup":
        return np.ones(len(evidence.rows), bool)
    values = evidence.rows.subgroup_values[among.group]
    inside: np.ndarray = evidence.rows.subgroups[among.group] == values.index(among.value)
    return inside

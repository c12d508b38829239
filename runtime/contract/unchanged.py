"""Judge what a candidate leaves as it was by that, where no number of cases could prove the gate otherwise.

These are a subgroup too small to conclude anything of, and a gate that allows no loss at all.
"""

from dataclasses import dataclass, replace

import numpy as np

from titrant.runtime.contract.case_tests import slice_scores
from titrant.runtime.contract.evidence import Evidence, slice_answers
from titrant.runtime.contract.metrics import hits
from titrant.runtime.contract.paired_tests import judge_retention
from titrant.runtime.contract.statistics.units import unit_count
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.gate import SHARES, Gate, slice_of
from titrant.schema.recipe.tasks import CASE_METRICS
from titrant.schema.samples.binomial import zero_failure_cases
from titrant.schema.values.slice import Slice

UNCHANGED = "counted: no answer changed"
IDENTICAL = "counted: every answer is the original's, bit for bit"
# Cases without a difference prove this much before their answers count as those of one and the same function.
_SAME_FUNCTION = 0.99
_DIFFERENCES = ("drop_at_most", "rise_at_most")


@dataclass(frozen=True)
class _Side:
    """One group of a bias row: how many units the metric counts in it, and whether any answer of theirs changed."""

    among: Slice
    units: int
    untouched: bool


def judge_left_alone(gate: Gate, evidence: Evidence) -> GateEstimate | None:
    """Judge a bias row by what the candidate changes in it, where every group under `min_cases` keeps all its answers.

    A group whose answers are the original's leaves a ratio to the other group as it was, but for what changes there:
    that group's own retention, turned over where it stands below the line. None where the row is no such row, and its
    own test judges it.
    """
    if gate.preset != "bias" or evidence.original is None:
        return None
    sides = [_side(gate.metric, among, evidence) for among in slice_of(gate).sides()]
    small = [side for side in sides if side.units < gate.min_cases]
    if not small or not all(side.untouched for side in small):
        return None
    names = " and ".join(f"{side.units} in {side.among.subgroup}" for side in small)
    observed = f"cases that count: {names}, under {gate.min_cases} (min_cases), and none of their answers changed"
    moved = next((side for side in sides if not side.untouched), None)
    fewest = min(side.units for side in sides)
    if moved is None:
        return GateEstimate(
            1.0, 1.0, 1.0, None, None, fewest, 0, UNCHANGED, f"{observed}: the ratio is kept whole", p_value=0.0
        )
    within = replace(gate, slice=moved.among.text, comparison="retention", test="score_ratio")
    change = judge_retention(within, evidence)
    if moved is sides[1]:
        upper, lower = _inverse(change.lower), _inverse(change.upper)
        change = replace(change, estimate=_inverse(change.estimate), lower=lower, upper=upper)
    return replace(
        change, original=None, candidate=None, cases=fewest, units=None, proves_with=None,
        observed=f"{observed}; {change.observed}",
    )  # fmt: skip


def _inverse(ratio: float | None) -> float | None:
    return 1 / ratio if ratio else None


def _side(metric: str, among: Slice, evidence: Evidence) -> _Side:
    """Look at the cases that the metric counts in a group, or at all of the group where it counts none."""
    key = ("side", metric, among)
    if key not in evidence.made:
        evidence.made[key] = _side_of(metric, among, evidence)
    side: _Side = evidence.made[key]
    return side


def _side_of(metric: str, among: Slice, evidence: Evidence) -> _Side:
    cases = slice_answers(evidence, metric, among)
    if cases.positive is None and metric != "accuracy":
        raise Unassessable(f"{metric} needs a class: name data.positive")
    counted, _ = hits(metric, cases.original.decisions, cases.labels, cases.positive)
    answers = cases.alike[counted] if counted.any() else cases.alike
    return _Side(among, unit_count(cases.units[counted]), bool(answers.all()))


def judge_identical(gate: Gate, evidence: Evidence) -> GateEstimate | None:
    """Pass a gate that allows no loss at all where every number of every answer is the original's, bit for bit.

    No number of cases bounds a ratio at 1, or a drop at 0. Numbers that agree to the last bit on as many units as prove
    .99 are those of the same function, and nothing is inferred from a sample. None where the gate allows a loss, and
    its own test judges it, or where a bit differs.
    """
    relative = gate.comparison in ("retention", *_DIFFERENCES) or gate.metric in SHARES
    none_allowed = gate.threshold == (0.0 if gate.comparison in _DIFFERENCES else 1.0)
    if not (relative and none_allowed):
        return None
    if evidence.cases is not None and gate.metric in CASE_METRICS:
        scores = slice_scores(gate.metric, slice_of(gate), evidence)
        return (
            _same_function(gate, scores.units, scores.words, evidence.confidence) if evidence.cases.identical else None
        )
    if evidence.original is None or evidence.candidate is None:
        return None
    cases = slice_answers(evidence, gate.metric, slice_of(gate))
    same = np.array_equal(cases.original.probabilities, cases.candidate.probabilities)
    if not same or not cases.alike.all():
        return None
    return _same_function(gate, cases.units, cases.words, evidence.confidence)


def _same_function(gate: Gate, of_rows: np.ndarray, words: str, confidence: float) -> GateEstimate | None:
    """Pass a gate on identical answers to rows of these units (rows,); None where there are too few of them."""
    units = unit_count(of_rows)
    if units < zero_failure_cases(_SAME_FUNCTION, confidence):
        return None
    observed = f"every answer to {len(of_rows)} cases{words} is the original's, bit for bit"
    value = gate.threshold
    return GateEstimate(
        value, value, value, None, None, len(of_rows), 0, IDENTICAL, observed, units=units,
        p_value=_SAME_FUNCTION**units,
    )  # fmt: skip

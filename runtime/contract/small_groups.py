"""Judge a subgroup too small to conclude anything of by what the candidate changes: what it leaves alone is not its."""

from dataclasses import dataclass, replace

from titrant.runtime.contract.evidence import Evidence, Unassessable, slice_answers
from titrant.runtime.contract.metrics import hits
from titrant.runtime.contract.paired_tests import judge_retention
from titrant.runtime.contract.statistics.units import unit_count
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.gate import Gate, slice_of
from titrant.schema.values.slice import Slice

UNCHANGED = "counted: no answer changed"


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
    if gate.preset != "bias":
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
        return GateEstimate(1.0, 1.0, 1.0, None, None, fewest, 0, UNCHANGED, f"{observed}: the ratio is kept whole")
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
    cases = slice_answers(evidence, metric, among)
    if cases.positive is None and metric != "accuracy":
        raise Unassessable(f"{metric} needs a class: name data.positive")
    counted, _ = hits(metric, cases.original.decisions, cases.labels, cases.positive)
    answers = cases.alike[counted] if counted.any() else cases.alike
    return _Side(among, unit_count(cases.units[counted]), bool(answers.all()))

"""Answers to the cases of a task that a gate must refuse, made of the original's own."""

from collections.abc import Callable

import numpy as np

from titrant.runtime.contract.evidence import Evidence, Unassessable
from titrant.runtime.contract.tasks.cases import CaseAnswers
from titrant.runtime.contract.tasks.judging import allowed_loss, slice_scores, worst_loss
from titrant.schema.gate import Gate, slice_of
from titrant.schema.tasks import CASE_METRICS
from titrant.schema.values.slice import Slice

# Which share of the units in some rows is chosen to be broken: (units, rows to choose from, those, share, seed).
ChooseUnits = Callable[[np.ndarray, np.ndarray, np.ndarray, float, int], np.ndarray]


def is_by_case(gate: Gate, evidence: Evidence) -> bool:
    """Whether a gate looks at what cases score."""
    return evidence.cases is not None and gate.metric in CASE_METRICS


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
    try:
        scores = slice_scores(gate.metric, among, evidence)
    except Unassessable:
        return None  # the gate itself says what is missing
    allowed, worst = allowed_loss(gate, scores), worst_loss(scores)
    if gate.comparison == "ratio_at_least":
        allowed = worst * (1 - gate.threshold)
    if allowed is None or worst <= 0 or evidence.cases is None:
        return None
    share = min(1.0, max(least, times * allowed / worst))
    inside = _inside(among, evidence)
    rows = choose(evidence.rows.units, inside, inside, share, evidence.seed)
    return evidence.cases.broken(rows), share


def _inside(among: Slice, evidence: Evidence) -> np.ndarray:
    if among.kind != "subgroup":
        return np.ones(len(evidence.rows), bool)
    values = evidence.rows.subgroup_values[among.group]
    inside: np.ndarray = evidence.rows.subgroups[among.group] == values.index(among.value)
    return inside

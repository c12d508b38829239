"""Judge means of a number a case that lies within known ends, and of these the net benefit of a decision curve."""

import math
from dataclasses import dataclass

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, slice_answers
from titrant.runtime.contract.paired_tests import AT_ANY_LOOK, by_bets, compared
from titrant.runtime.contract.statistics.compared import box
from titrant.runtime.contract.statistics.means import BETTING
from titrant.runtime.contract.statistics.units import unit_count
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.gate import NET_BENEFIT, Gate, slice_of

# By which a bound that does not prove a threshold stays off it: the bound is where the claim is not refuted.
_BESIDE = 1e-6


@dataclass(frozen=True)
class CaseValues:
    """A number a case by either model (rows,), what a row could have at worst (n, 2), units (rows,), and words.

    `reversed` says that less is better, so that what is retained is original / candidate.
    """

    original: np.ndarray
    candidate: np.ndarray
    corners: np.ndarray
    units: np.ndarray
    words: str
    reversed: bool = False


def judge_bounded(gate: Gate, evidence: Evidence, values: CaseValues) -> GateEstimate:
    """Bound what a gate compares of the two means by bets over units, each of which may be as bad as a row can be."""
    before, after = float(values.original.mean()), float(values.candidate.mean())
    moved = int((np.abs(values.candidate - values.original) > 1e-12).sum())
    first, second, corners = values.original, values.candidate, values.corners
    if gate.comparison == "retention":
        if values.reversed:
            first, second, corners = second, first, corners[:, ::-1]
        if float(first.mean()) <= 0:
            which = "candidate's" if values.reversed else "original's"
            raise Unassessable(
                f"the {which} {gate.metric.replace('_', ' ')} is not above 0, and a ratio has no meaning"
            )
    means, least_rate = by_bets(gate, evidence, first, second, values.units, corners=corners)
    estimate = compared(gate.comparison, float(first.mean()), float(second.mean()))
    lower, upper = means.bounds()
    if gate.comparison == "retention" and lower >= gate.threshold and not means.proves(gate.threshold):
        lower = gate.threshold - _BESIDE  # where values may be below 0 the ratios that are refuted are no interval
    if estimate is not None and lower is not None and estimate < lower:
        lower = -math.inf  # ratios are refuted from 0 on; how far below it they are nobody asked
    return GateEstimate(
        estimate, lower, upper, before, after, len(first), moved,
        BETTING + (AT_ANY_LOOK if evidence.always_valid else ""), f"{values.words} {before:.4f} → {after:.4f}",
        clean="" if moved else "no change", units=unit_count(values.units),
        proves_with=means.proving(gate.threshold), p_value=least_rate,
    )  # fmt: skip


def net_benefit_of_cases(answers: Answers, labels: np.ndarray, positive: int) -> np.ndarray:
    """Return what each case adds to the net benefit at the operating point (rows,): 1, 0, or minus the odds.

    Vickers and Elkin (2006), "Decision curve analysis", Medical Decision Making 26: at the threshold t the net benefit
    is TP / n - FP / n · t / (1 - t), whose odds say how many false alarms a caught case is worth. Raises Unassessable
    where no threshold below 1 decides.
    """
    weight = odds(answers)
    called = answers.decisions == positive
    values: np.ndarray = np.where(labels == positive, 1.0, -weight) * called
    return values


def odds(answers: Answers) -> float:
    """Return t / (1 - t) of the operating point; Unassessable where there is none below 1."""
    threshold = answers.threshold
    if threshold is None:
        raise Unassessable("a net benefit needs an operating point, and the largest score decides here")
    if threshold >= 1:
        raise Unassessable(f"the operating point is {threshold:g}, at which a false alarm weighs without end")
    return threshold / (1 - threshold)


def judge_net_benefit(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the net benefit at the operating point, its drop or the share that is kept."""
    cases = slice_answers(evidence, NET_BENEFIT, slice_of(gate))
    if cases.positive is None:
        raise Unassessable("a net benefit is about the positive class: name data.positive")
    values = [
        net_benefit_of_cases(answers, cases.labels, cases.positive) for answers in (cases.original, cases.candidate)
    ]
    weight = odds(cases.original)
    # A case of the class adds 0 or 1 by either model, any other 0 or the odds of a false alarm.
    corners = np.concatenate([box((0.0, 1.0), (0.0, 1.0)), box((-weight, 0.0), (-weight, 0.0))])
    threshold = cases.original.threshold
    words = f"net benefit at {threshold:.4g}{cases.words} over {len(cases.labels)} cases"
    return judge_bounded(gate, evidence, CaseValues(values[0], values[1], corners, cases.units, words))

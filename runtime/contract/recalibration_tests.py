"""Judge calibration slope and intercept, alone or beside the original's, and make scores miscalibrated."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, SliceAnswers, Unassessable, slice_answers
from titrant.runtime.contract.paired_tests import compared
from titrant.runtime.contract.statistics.compared import box, compare_means
from titrant.runtime.contract.statistics.means import BETTING
from titrant.runtime.contract.statistics.recalibration import Recalibration, intercept, logits, slope
from titrant.runtime.contract.statistics.units import unit_count
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.cases import LEAST_OF_A_CLASS
from titrant.schema.gate import CALIBRATION_INTERCEPT, CALIBRATION_SLOPE, Gate, slice_of

_FITS: Mapping[str, Callable[[np.ndarray, np.ndarray], Recalibration | None]] = {
    CALIBRATION_SLOPE: slope,
    CALIBRATION_INTERCEPT: intercept,
}
RECALIBRATION = f"{BETTING} on the influence of each row, in logits within ±13.8"
# A candidate's scores are off by so much more at least where a control makes them so.
_LEAST_OFF, _TIMES = 0.05, 2.0


def judge_recalibration(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound a coefficient, its drop or rise, by what a row of either label could add to it at worst."""
    if evidence.always_valid:
        raise Unassessable("no bound of it holds at any number of looks (validation.looks: open)")
    cases = slice_answers(evidence, gate.metric, slice_of(gate))
    labels = _labels(cases)
    old, new = (fitted(gate.metric, answers, cases, labels) for answers in (cases.original, cases.candidate))
    corners = np.concatenate([box(before, after) for before, after in zip(old.ends, new.ends, strict=True)])
    means = compare_means(
        gate.comparison, old.values, new.values, cases.units, confidence=evidence.confidence, corners=corners
    )
    lower, upper = means.bounds()
    count = min(unit_count(cases.units[labels == label]) for label in (0, 1))
    least = (
        ""
        if count >= LEAST_OF_A_CLASS
        else f"{count} cases on the smaller side of {cases.positive_name}, and at least {LEAST_OF_A_CLASS} are needed"
    )
    words = f"{gate.metric.replace('_', ' ')}{cases.words} {old.value:.4f} → {new.value:.4f} over {len(labels)} cases"
    moved = int((np.abs(new.values - old.values) > 1e-12).sum())
    return GateEstimate(
        compared(gate.comparison, old.value, new.value), lower, upper, old.value, new.value, len(labels), moved,
        RECALIBRATION, words, missing=least, clean="" if moved else "no change", units=unit_count(cases.units),
        proves_with=lambda times: means.proves(gate.threshold, times),
    )  # fmt: skip


def fitted(metric: str, answers: Answers, cases: SliceAnswers, labels: np.ndarray) -> Recalibration:
    """Fit one model's scores of the positive class; Unassessable where no finite coefficient is there."""
    found = _FITS[metric](logits(answers.probabilities[:, cases.positive]), labels)
    if found is None:
        name = metric.replace("_", " ")
        raise Unassessable(f"the scores{cases.words} have no finite {name}: they separate the classes, or are alike")
    return found


def _labels(cases: SliceAnswers) -> np.ndarray:
    if cases.positive is None:
        raise Unassessable("recalibration needs a class: name data.positive, or use the slice `class X`")
    labels = (cases.labels == cases.positive).astype(np.float64)
    if not 0 < labels.sum() < len(labels):
        raise Unassessable(f"all cases{cases.words} are of one kind, and nothing can be calibrated")
    return labels


def miscalibrated(gate: Gate, evidence: Evidence) -> Answers | None:
    """Return the original's answers with logits stretched or shifted until the gate is missed by as much as it allows.

    None where the gate itself says what is missing.
    """
    assert evidence.original is not None
    try:
        cases = slice_answers(evidence, gate.metric, slice_of(gate))
        value = fitted(gate.metric, cases.original, cases, _labels(cases)).value
    except Unassessable:
        return None
    target = _missed(gate, value)
    place = logits(evidence.original.probabilities[:, cases.positive])
    if gate.metric == CALIBRATION_INTERCEPT:
        place = place + (value - target)
    else:
        # Scores of the opposite order have a slope below 0, and none has one of 0.
        place = place * (value / target if abs(target) > 1e-3 else -1.0)
    positive = 1 / (1 + np.exp(-place))
    others = evidence.original.probabilities.copy()
    others[:, cases.positive] = 0.0
    rest = others.sum(axis=1, keepdims=True)
    shared = np.where(rest > 0, others / np.where(rest > 0, rest, 1.0), 1 / max(others.shape[1] - 1, 1))
    probabilities = shared * (1 - positive)[:, None]
    probabilities[:, cases.positive] = positive
    return replace(evidence.original, probabilities=probabilities)


def _missed(gate: Gate, value: float) -> float:
    """Return a coefficient that misses the gate, given the original's own."""
    if gate.comparison in ("drop_at_most", "rise_at_most"):
        off = max(_LEAST_OFF, _TIMES * gate.threshold)
        return value - off if gate.comparison == "drop_at_most" else value + off
    off = max(_LEAST_OFF, abs(value - gate.threshold))
    return gate.threshold - off if gate.comparison == "at_least" else gate.threshold + off

"""Judge calibration slope and intercept, of a candidate alone or beside the original's."""

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, SliceAnswers, slice_answers
from titrant.runtime.contract.paired_tests import compared
from titrant.runtime.contract.statistics.compared import box, compare_means
from titrant.runtime.contract.statistics.means import BETTING
from titrant.runtime.contract.statistics.recalibration import FITS, Recalibration, logits
from titrant.runtime.contract.statistics.units import unit_count
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.cases import LEAST_OF_A_CLASS
from titrant.schema.gate import Gate, slice_of

RECALIBRATION = f"{BETTING} on the influence of each row, in logits within ±13.8"


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
        proves_with=means.proving(gate.threshold),
    )  # fmt: skip


def fitted(metric: str, answers: Answers, cases: SliceAnswers, labels: np.ndarray) -> Recalibration:
    """Fit one model's scores of the positive class to labels (cases,) of 0 and 1.

    Unassessable where no finite coefficient is there.
    """
    coefficient = FITS[metric](logits(answers.probabilities[:, cases.positive]), labels)
    if coefficient is None:
        name = metric.replace("_", " ")
        raise Unassessable(f"the scores{cases.words} have no finite {name}: they separate the classes, or are alike")
    return coefficient


def _labels(cases: SliceAnswers) -> np.ndarray:
    if cases.positive is None:
        raise Unassessable("recalibration needs a class: name data.positive, or use the slice `class X`")
    labels = (cases.labels == cases.positive).astype(np.float64)
    if not 0 < labels.sum() < len(labels):
        raise Unassessable(f"all cases{cases.words} are of one kind, and nothing can be calibrated")
    return labels

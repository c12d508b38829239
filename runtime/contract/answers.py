"""Read a model's outputs as probabilities and decisions, and compare two models' answers, also as counts by class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from titrant.runtime.contract.agreement import compare
from titrant.runtime.contract.output_kinds import ROUNDING
from titrant.runtime.contract.reading import AnswerComparison, Reading
from titrant.runtime.contract.tasks.masks import masks_of, objects_of
from titrant.runtime.contract.tasks.multilabel import label_decisions
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.recipe.tasks import CLASSIFYING, OutputKind


@dataclass(frozen=True)
class Answers:
    """One model's answers: `probabilities` (rows, classes) and `decisions` (rows,), an index into the classes.

    `threshold` is the probability of the positive class from which on it is decided; None where the largest decides.
    """

    probabilities: np.ndarray
    decisions: np.ndarray
    threshold: float | None = None

    def of(self, cases: np.ndarray) -> "Answers":
        """Keep some of the cases, by a mask or by index."""
        places = np.flatnonzero(cases) if cases.dtype == bool else cases
        taken = np.take(self.probabilities, places, axis=0), np.take(self.decisions, places)
        return Answers(*taken, self.threshold)


def read_answers(reading: Reading, rows: Rows, outputs: Outputs, point: Mapping[str, Any]) -> Answers:
    """Turn outputs into probabilities and, at the operating point, decisions.

    The point is {"kind": "argmax" or "threshold", "threshold"}. Raises StepError X420 when the outputs do not fit the
    rows or the classes.
    """
    probabilities = class_probabilities(reading, rows, outputs)
    if point["kind"] == "argmax" or rows.positive is None:
        return Answers(probabilities, probabilities.argmax(axis=1))
    caught = probabilities[:, rows.positive] >= point["threshold"]
    decisions = np.where(caught, rows.positive, 1 - rows.positive)
    return Answers(probabilities, decisions, point["threshold"])


def class_probabilities(reading: Reading, rows: Rows, outputs: Outputs) -> np.ndarray:
    """Return the probability of each class, (rows, classes) float64.

    A binary task may answer one number, which is about the class `rows.scored`, or one for each class. Logits go
    through sigmoid or softmax, logarithms of probabilities through the exponential.
    """
    name = judged_output(reading, outputs)
    values = outputs.arrays[name].astype(np.float64)
    if len(values) != len(rows):
        raise _misfit(f"the output '{name}' has {len(values)} rows, and there are {len(rows)} cases")
    kind = reading.kind(name)
    if kind not in CLASSIFYING:
        raise _misfit(f"the output '{name}' is said to hold {kind}, and a class cannot be decided from those")
    values = values.reshape(len(values), -1)
    classes = len(rows.classes)
    if kind == "log_probabilities":
        kind, values = "probabilities", np.exp(values)
    if kind == "probabilities" and (np.any(values < -ROUNDING) or np.any(values > 1 + ROUNDING)):
        raise _misfit(f"the output '{name}' is said to hold {reading.kind(name)}, and some are outside 0..1")
    if values.shape[1] == 1 and classes == 2:
        caught = _sigmoid(values[:, 0]) if kind == "logits" else values[:, 0]
        return np.stack([caught, 1 - caught] if rows.scored == 0 else [1 - caught, caught], axis=1)
    if values.shape[1] != classes:
        raise StepError(
            Diagnostic(
                "X420",
                f"the output '{name}' has {values.shape[1]} numbers a case for {classes} classes",
                help="data.classes lists all of the model's classes in its order, also those that the data does not "
                "show; model.output names the output to judge",
            )
        )
    if kind == "probabilities":
        return values
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def judged_output(reading: Reading, outputs: Outputs) -> str:
    """Return the output that a labelled task judges: the one named, else the first."""
    if reading.output and reading.output not in outputs.arrays:
        raise _misfit(f"there is no output '{reading.output}'; there are: {', '.join(outputs.arrays)}")
    return reading.output or next(iter(outputs.arrays))


def same_answers(reading: Reading, rows: Rows, original: Outputs, candidate: Outputs) -> np.ndarray:
    """Say for each case whether both models answer alike, on every output; (rows,) bool.

    An output is compared as `reading.comparison` says: the same largest entry everywhere, every label decided alike,
    the cosine of the case's whole output, the same nearest other case, the Dice coefficient of two masks, boxes that
    match, or a relative (Euclidean norm, so that entries near zero do not decide) or absolute difference. Of masks and
    boxes with labels only the judged output is.
    """
    if set(original.arrays) != set(candidate.arrays):
        raise _misfit(f"outputs {', '.join(candidate.arrays)} instead of {', '.join(original.arrays)}")
    alike = np.ones(len(rows), bool)
    judged = judged_output(reading, original)
    for name in [judged] if reading.task in ("segmentation", "detection") else original.arrays:
        several = original.arrays[name].ndim > 1 and original.arrays[name].shape[-1] > 1
        comparison = reading.comparison(name, classes=several, judged=name == judged)
        alike &= _alike(comparison, reading.kind(name), rows, name, (original.arrays[name], candidate.arrays[name]))
    return alike


def _alike(
    comparison: AnswerComparison, kind: OutputKind, rows: Rows, name: str, answers: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    expected, given = answers
    # Of boxes there are as many as each model finds.
    looked_at = slice(1) if comparison.measure == "boxes" else slice(None)
    if given.shape[looked_at] != expected.shape[looked_at] or len(given) != len(rows):
        raise _misfit(f"the output '{name}' has shape {given.shape} instead of {expected.shape}")
    if comparison.measure == "dice":
        masks, others = masks_of(expected, kind), masks_of(given, kind)
        if masks is None or others is None:
            raise _misfit(f"the output '{name}' is {expected.shape[1:]} for each case, and no masks")
        if rows.classes and rows.targets is not None:  # labels that are masks, of which one class may be the background
            masks, others = (_objects(rows, name, part) for part in (masks, others))
        return compare(comparison, masks, others)
    if comparison.measure == "same_labels":
        return compare(comparison, *(label_decisions(rows, name, kind, values) for values in answers))
    if comparison.measure == "same_class" and expected.shape[-1] == 1:
        message = f"the output '{name}' has one number a case, and its largest is always the same"
        raise StepError(Diagnostic("X420", message, help="compare it by relative, or by absolute with a tolerance"))
    return compare(comparison, expected, given)


def _objects(rows: Rows, name: str, masks: np.ndarray) -> np.ndarray:
    highest = int(masks.max(initial=0))
    if highest >= len(rows.classes) or int(masks.min(initial=0)) < 0:
        raise _misfit(f"the output '{name}' holds class {highest}, and the labels have {len(rows.classes)} classes")
    return objects_of(masks, rows.classes)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    answer: np.ndarray = 1 / (1 + np.exp(-np.clip(values, -700, 700)))
    return answer


def _misfit(message: str) -> StepError:
    return StepError(
        Diagnostic("X420", message, help="model.output names the output to judge and says what its numbers are")
    )


# A number of cases, or in words that it is below or not below what is shown.
CaseCount = int | str
Cells = tuple[tuple[int, int, CaseCount], ...]


@dataclass(frozen=True)
class DecisionCounts:
    """Decisions on evaluation rows, counted; a report shows them `without_small_cells`.

    Every table lists only its cells above zero, each as (row class, column class, cases), class indices into
    `classes`: `original` and `candidate` are actual class by decided class, `moved` is the original's decision by the
    candidate's. `gained` and `lost` count, by actual class, the cases that only the candidate or only the original
    decided rightly. Without labels `original`, `candidate`, `gained` and `lost` are empty.
    """

    classes: tuple[str, ...]
    cases: int
    moved: Cells = ()
    original: Cells = ()
    candidate: Cells = ()
    gained: tuple[CaseCount, ...] = ()
    lost: tuple[CaseCount, ...] = ()
    positive: int | None = None  # index of the critical class


def count_answers(
    classes: tuple[str, ...],
    labels: np.ndarray | None,
    original: np.ndarray,
    candidate: np.ndarray,
    positive: int | None = None,
) -> DecisionCounts:
    """Count decisions by class; `labels`, `original` and `candidate` are (rows,) class indices, labels may be None."""
    moved = _cells(original, candidate)
    if labels is None:
        return DecisionCounts(classes, len(original), moved)
    right, now_right = original == labels, candidate == labels
    gained = np.bincount(labels[now_right & ~right], minlength=len(classes))
    lost = np.bincount(labels[right & ~now_right], minlength=len(classes))
    return DecisionCounts(
        classes,
        len(labels),
        moved,
        _cells(labels, original),
        _cells(labels, candidate),
        tuple(int(count) for count in gained),
        tuple(int(count) for count in lost),
        positive,
    )


def _cells(rows: np.ndarray, columns: np.ndarray) -> Cells:
    pairs, counts = np.unique(np.stack([rows, columns], axis=1), axis=0, return_counts=True)
    return tuple((int(row), int(column), int(n)) for (row, column), n in zip(pairs, counts, strict=True))

"""What a model's outputs say about each case: probabilities and decisions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from titrant.runtime.contract.reading import Reading
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics import Diagnostic, StepError


@dataclass(frozen=True)
class Answers:
    """One model's answers: `probabilities` (rows, classes) and `decisions` (rows,), an index into the classes."""

    probabilities: np.ndarray
    decisions: np.ndarray

    def of(self, cases: np.ndarray) -> "Answers":
        """Keep some of the cases."""
        return Answers(self.probabilities[cases], self.decisions[cases])


def read_answers(reading: Reading, rows: Rows, outputs: Outputs, point: Mapping[str, Any]) -> Answers:
    """Turn outputs into probabilities and, at the operating point, decisions.

    A binary task may give one column (of the positive class) or two. Raises StepError X420 when the outputs do not fit
    the rows or the classes.
    """
    probabilities = class_probabilities(reading, rows, outputs)
    if point["kind"] == "argmax" or rows.positive is None:
        return Answers(probabilities, probabilities.argmax(axis=1))
    caught = probabilities[:, rows.positive] >= point["threshold"]
    decisions = np.where(caught, rows.positive, 1 - rows.positive)
    return Answers(probabilities, decisions)


def class_probabilities(reading: Reading, rows: Rows, outputs: Outputs) -> np.ndarray:
    """Return the probability of each class, (rows, classes) float64, whose rows sum to one."""
    name = judged_output(reading, outputs)
    values = outputs.arrays[name].astype(np.float64)
    if len(values) != len(rows):
        raise _misfit(f"the output '{name}' has {len(values)} rows, and there are {len(rows)} cases")
    values = values.reshape(len(values), -1)
    classes = len(rows.classes)
    logits = reading.kind(name) == "logits"
    if values.shape[1] == 1 and classes == 2:
        caught = 1 / (1 + np.exp(-np.clip(values[:, 0], -700, 700))) if logits else values[:, 0]
        positive = 1 if rows.positive is None else rows.positive
        return np.stack([1 - caught, caught] if positive == 1 else [caught, 1 - caught], axis=1)
    if values.shape[1] != classes:
        raise _misfit(f"the output '{name}' has {values.shape[1]} columns for {classes} classes")
    if not logits:
        return values
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def judged_output(reading: Reading, outputs: Outputs) -> str:
    """Return the output that a labelled task judges: the one named, else the first."""
    if reading.output and reading.output not in outputs.arrays:
        raise _misfit(f"there is no output '{reading.output}'; there are: {', '.join(outputs.arrays)}")
    return reading.output or next(iter(outputs.arrays))


def same_answers(reading: Reading, original: Outputs, candidate: Outputs) -> np.ndarray:
    """Say for each case whether both models answer alike, on every output; (rows,) bool.

    Classes: the same largest entry everywhere. Values: within a relative error of .01, taken over the case's whole
    output (Euclidean norm), so that entries near zero do not decide.
    """
    if set(original.arrays) != set(candidate.arrays):
        raise _misfit(f"outputs {', '.join(candidate.arrays)} instead of {', '.join(original.arrays)}")
    alike: np.ndarray | None = None
    for name, expected in original.arrays.items():
        given = candidate.arrays[name]
        if given.shape != expected.shape:
            raise _misfit(f"the output '{name}' has shape {given.shape} instead of {expected.shape}")
        if reading.kind(name) in ("logits", "probabilities") and expected.ndim > 1 and expected.shape[-1] > 1:
            same = (expected.argmax(axis=-1) == given.argmax(axis=-1)).reshape(len(expected), -1).all(axis=1)
        else:
            same = _close(expected.reshape(len(expected), -1), given.reshape(len(given), -1))
        alike = same if alike is None else alike & same
    assert alike is not None
    return alike


def _close(expected: np.ndarray, given: np.ndarray) -> np.ndarray:
    error = np.linalg.norm(given.astype(np.float64) - expected, axis=1)
    close: np.ndarray = error <= 0.01 * np.linalg.norm(expected.astype(np.float64), axis=1)
    return close


def _misfit(message: str) -> StepError:
    return StepError(
        Diagnostic("X420", message, help="model.output names the output to judge and says what its numbers are")
    )

"""Read labels that are no classes: numbers that a model is to give."""

import numpy as np

from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.tasks import TASKS, LabelKind


def label_kind(task: str) -> LabelKind:
    """Return what the labels of a task are; of one that this version does not have, "class"."""
    return TASKS[task].label if task in TASKS else "class"


def target_numbers(column: np.ndarray, name: str) -> np.ndarray:
    """Return labels as numbers, (rows, …) float64; PreconditionError X645 where one is no finite number."""
    if column.dtype.kind not in "iufb":
        raise _no_numbers(name, "text")
    numbers = column.astype(np.float64)
    lacking = ~np.isfinite(numbers).reshape(len(numbers), -1).all(axis=1)
    if lacking.any():
        raise _no_numbers(name, f"no finite number in {int(lacking.sum())} of {len(numbers)} rows")
    return numbers


def _no_numbers(name: str, what: str) -> PreconditionError:
    return PreconditionError(
        Diagnostic(
            "X645",
            f"the label {name} holds {what}, and the task asks for numbers",
            help="name a column of numbers in data.label, or choose a task with classes",
        )
    )

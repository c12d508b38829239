"""Read labels that are no classes: numbers or tokens that a model is to give, or which rows belong together."""

from collections.abc import Mapping, Sequence

import numpy as np

from titrant.runtime.data.tokens import token_targets
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.tasks import TASKS, LabelKind


def label_kind(task: str) -> LabelKind:
    """Return what the labels of a task are; of one that this version does not have, "class"."""
    return TASKS[task].label if task in TASKS else "class"


def targets_of(
    task: str, inputs: Mapping[str, np.ndarray], name: str, column: np.ndarray | None, every: Sequence[np.ndarray]
) -> np.ndarray | None:
    """Return labels (rows, …) that are no classes: numbers, tokens or groups; None where there are none, or classes.

    `column` (rows, …) is the label called `name`, `every` that of all rows by source. Raises PreconditionError X645,
    X653, X654 and X655 for labels that are not what the task asks for.
    """
    kind = label_kind(task)
    if kind == "tokens":
        return token_targets(inputs, column, name)
    if column is None or kind not in ("groups", "numbers"):
        return None
    return group_numbers(column, np.concatenate(list(every))) if kind == "groups" else target_numbers(column, name)


def target_numbers(column: np.ndarray, name: str) -> np.ndarray:
    """Return labels as numbers, (rows, …) float64; PreconditionError X645 where one is no finite number."""
    if column.dtype.kind not in "iufb":
        raise _no_numbers(name, "text")
    numbers = column.astype(np.float64)
    lacking = ~np.isfinite(numbers).reshape(len(numbers), -1).all(axis=1)
    if lacking.any():
        raise _no_numbers(name, f"no finite number in {int(lacking.sum())} of {len(numbers)} rows")
    return numbers


def group_numbers(column: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Return the group of each row as its place among all groups in order, (rows,) int64.

    `column` (rows,) is a part of `every`, the label of all rows. Raises PreconditionError X654 for arrays.
    """
    if column.ndim != 1:
        raise PreconditionError(
            Diagnostic(
                "X654",
                f"the label of an embedding has shape {column.shape}, and one value a row is needed: which rows belong "
                "together",
                help="name such a column in data.label, or leave it out",
            )
        )
    texts = every.dtype.kind not in "iufb"
    values = np.unique(every.astype(str) if texts else every)
    return np.searchsorted(values, column.astype(str) if texts else column).astype(np.int64)


def _no_numbers(name: str, what: str) -> PreconditionError:
    return PreconditionError(
        Diagnostic(
            "X645",
            f"the label {name} holds {what}, and the task asks for numbers",
            help="name a column of numbers in data.label, or choose a task with classes",
        )
    )

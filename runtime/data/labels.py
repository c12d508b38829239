"""Turn a label column into class numbers with names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from titrant.runtime.data.columns import value_text
from titrant.runtime.data.parameters import Scalar
from titrant.schema.diagnostics import Diagnostic, PreconditionError, RecipeError
from titrant.schema.nearest import nearest


@dataclass(frozen=True)
class Classes:
    """The classes of a label: `values` as text in the order of the class numbers, and their `names`."""

    values: tuple[str, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def numbers(self, label: np.ndarray) -> np.ndarray:
        """Return the class number (rows,) int64 of each label."""
        distinct, index = np.unique(label, return_inverse=True)
        place = {value: number for number, value in enumerate(self.values)}
        return np.array([place[value_text(value)] for value in distinct.tolist()], dtype=np.int64)[index]


def find_classes(labels: Sequence[np.ndarray], names: Mapping[str, str], column: str) -> Classes:
    """Number the distinct values of the label over all sources: numbers by size, text by alphabet.

    Raises PreconditionError X123 for labels that are arrays, fractions, or all the same.
    """
    if any(label.ndim != 1 for label in labels):
        shape = next(label.shape[1:] for label in labels if label.ndim != 1)
        raise _no_classes(f"{column} has the shape {shape} in each row", "a class label is one value a row")
    distinct = {value for label in labels for value in np.unique(label).tolist()}
    if any(isinstance(value, float) and not value.is_integer() for value in distinct):
        raise _no_classes(f"{column} holds fractions", "this looks like a regression target; classes are whole or text")
    texts = {value_text(value): value for value in distinct}
    if len(texts) < 2:
        raise _no_classes(f"{column} has one class only, {next(iter(texts), '')}", "a classifier needs two or more")
    whole = all(_is_whole(text) for text in texts)
    values = tuple(sorted(texts, key=lambda text: (int(text), text)) if whole else sorted(texts))
    notes: tuple[str, ...] = ()
    if whole and [int(value) for value in values] != list(range(len(values))):
        notes = (
            f"{column} has the values {values[0]} to {values[-1]}, numbered by rank as classes 0 to {len(values) - 1}",
        )
    return Classes(values, tuple(names.get(value, value) for value in values), notes)


def positive_class(classes: Classes, positive: Scalar | None) -> int | None:
    """Return the number of the positive class, by name or value; RecipeError X124 when there is none such."""
    if positive is None:
        return None
    text = value_text(positive)
    for known in (classes.names, classes.values):
        if text in known:
            return known.index(text)
    near = nearest(text, classes.names)
    help = f"did you mean {near}?" if near else f"the classes are {', '.join(classes.names[:10])}"
    raise RecipeError(Diagnostic("X124", f"there is no class `{text}`", help=help, key="data.positive"))


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isdecimal() and (digits == "0" or not digits.startswith("0"))


def _no_classes(message: str, help: str) -> PreconditionError:
    return PreconditionError(Diagnostic("X123", message, help=help))

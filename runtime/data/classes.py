"""Read labels: number classes, sorted or in the order that the recipe states, find the positive one, take numbers."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from titrant.runtime.data.columns import value_text
from titrant.runtime.data.parameters import PlainValue
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, RecipeError
from titrant.schema.language.nearest import nearest
from titrant.schema.recipe.tasks import TASKS, LabelKind
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import is_whole

_SHOWN = 6  # classes that a message names


# What a class is in the label itself, where it has no other name there.
ClassKind = Literal["text", "integer", "boolean"]


@dataclass(frozen=True)
class Classes:
    """The classes of a label: `values` as text in the order of the class numbers, their `names`, and their `kind`."""

    values: tuple[str, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    kind: ClassKind = "text"

    def numbers(self, label: np.ndarray) -> np.ndarray:
        """Return the class number (rows,) int64 of each label."""
        distinct, index = np.unique(label, return_inverse=True)
        place = {value: number for number, value in enumerate(self.values)}
        return np.array([place[value_text(value)] for value in distinct.tolist()], dtype=np.int64)[index]


def find_classes(
    labels: Sequence[np.ndarray], names: Mapping[str, str], column: str, stated: Sequence[PlainValue] = ()
) -> Classes:
    """Number the distinct values of the label over all sources: numbers by size, text by alphabet, or as is `stated`.

    Raises PreconditionError X123 for labels that are arrays, fractions, or all the same, and for classes that look the
    same, RecipeError X128 where what is stated names a class twice or leaves one of the data's out.
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
    if alike := _alike(texts, _form):
        message = f"{column} has classes that look the same, `{alike}`, and differ in spaces or in Unicode form only"
        raise _no_classes(message, "write each class in one form in the data")
    kind = _kind(labels, names, stated)
    by_case = _alike(texts, str.casefold)
    notes: tuple[str, ...] = (f"classes of {column} differ by case only: `{by_case}`",) if by_case else ()
    if stated:
        return replace(_stated(tuple(texts), names, stated), kind=kind, notes=notes)
    whole = all(is_whole(text) for text in texts)
    values = tuple(sorted(texts, key=lambda text: (int(text), text)) if whole else sorted(texts))
    if whole and [int(value) for value in values] != list(range(len(values))):
        ranks = f"numbered by rank as classes 0 to {len(values) - 1}"
        notes = (f"{column} has the values {values[0]} to {values[-1]}, {ranks}",)
    return Classes(values, tuple(names.get(value, value) for value in values), notes, kind)


def _form(text: str) -> str:
    """Return what a person sees of a text: one form of Unicode, without spaces around it."""
    return unicodedata.normalize("NFC", text).strip()


def _alike(texts: Iterable[str], form: Callable[[str], str]) -> str:
    """Return the texts that have one form, as a message lists them: the first of those that differ; "" for none."""
    first: dict[str, str] = {}
    for text in sorted(texts):
        if (other := first.setdefault(form(text), text)) != text:
            return f"{other}` and `{text}"
    return ""


def _kind(labels: Sequence[np.ndarray], names: Mapping[str, str], stated: Sequence[PlainValue]) -> ClassKind:
    """Tell what an answer is: whole numbers and truth values as the label has them; names, and a mixture, are text."""
    kinds = {label.dtype.kind for label in labels}
    if names:
        return "text"
    if kinds == {"b"} and all(value_text(entry) in ("true", "false") for entry in stated):
        return "boolean"
    return "integer" if kinds <= set("iuf") and all(is_whole(value_text(entry)) for entry in stated) else "text"


def places(classes: Classes, outputs: int) -> tuple[str, ...]:
    """Return the classes of a model with more outputs than the label has values: every place is one, 0 and up.

    Whole numbers of a label are places among the outputs where each of them is one; () where they are not, or where
    there are as many classes as outputs.
    """
    whole = all(is_whole(value) for value in classes.values)
    if outputs <= len(classes.values) or not whole:
        return ()
    fits = all(0 <= int(value) < outputs for value in classes.values)
    return tuple(map(str, range(outputs))) if fits else ()


def _stated(texts: Sequence[str], names: Mapping[str, str], stated: Sequence[PlainValue]) -> Classes:
    """Number classes as the recipe lists them, by value or name; what the data does not show is a class as well."""
    spelled = {text: text for text in texts} | {names[text]: text for text in texts if text in names}
    seen = {_form(text): value for text, value in spelled.items()}
    entries = [value_text(entry) for entry in stated]
    values = tuple(spelled.get(entry, seen.get(_form(entry), entry)) for entry in entries)
    twice = [value for place, value in enumerate(values) if value in values[:place]]
    if twice:
        raise _misstated(f"data.classes lists `{names.get(twice[0], twice[0])}` twice", "an output is one class")
    left_out = [names.get(text, text) for text in sorted(texts) if text not in values]
    if left_out:
        some = ", ".join(f"`{name}`" for name in left_out[:_SHOWN]) + (" …" if len(left_out) > _SHOWN else "")
        near = nearest(left_out[0], [value_text(entry) for entry in stated])
        raise _misstated(
            f"data.classes does not list {some}, which the label has",
            f"is it {near}?" if near else "list every class, in the order of the model's outputs",
        )
    return Classes(values, tuple(names.get(value, value) for value in values))


def _misstated(message: str, help: str) -> RecipeError:
    return RecipeError(Diagnostic("X128", message, help=help, key="data.classes"))


def in_own_type(names: Sequence[str], kind: ClassKind) -> np.ndarray:
    """Return the classes (classes,) as the label has them: int64, bool, or text."""
    if kind == "integer":
        return np.array([int(name) for name in names], dtype=np.int64)
    return np.array([name == "true" for name in names]) if kind == "boolean" else np.array(names)


def positive_class(classes: Classes, positive: PlainValue | None) -> int | None:
    """Return the number of the positive class, by name or value; RecipeError X124 when there is none such."""
    if positive is None:
        return None
    text = value_text(positive)
    for spellings in (classes.names, classes.values):
        for form in (str, _form):
            forms = [form(spelling) for spelling in spellings]
            if form(text) in forms:
                return forms.index(form(text))
    near = nearest(text, classes.names)
    help = f"did you mean {near}?" if near else f"the classes are {', '.join(classes.names[:10])}"
    raise RecipeError(Diagnostic("X124", f"there is no class `{text}`", help=help, key="data.positive"))


def _no_classes(message: str, help: str) -> PreconditionError:
    return PreconditionError(Diagnostic("X123", message, help=help))


def label_kind(task: str) -> LabelKind:
    """Return what the labels of a task are; of one that this version does not have, "class"."""
    return TASKS[task].label if task in TASKS else "class"


def target_numbers(column: np.ndarray, name: str) -> np.ndarray:
    """Return labels as numbers, (rows, …) float64; PreconditionError X645 where one is no finite number."""
    if column.dtype.kind not in "iufb":
        raise _no_numbers(name, "text")
    numbers = column.astype(np.float64)
    gone = ~np.isfinite(numbers).reshape(len(numbers), -1).all(axis=1)
    if gone.any():
        raise _no_numbers(name, f"no finite number in {int(gone.sum())} of {len(numbers)} rows")
    return numbers


def _no_numbers(name: str, what: str) -> PreconditionError:
    return PreconditionError(
        Diagnostic(
            "X645",
            f"the label {name} holds {what}, and the task asks for numbers",
            help="name a column of numbers in data.label, or choose a task with classes",
        )
    )

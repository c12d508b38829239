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

# What stands for a position of which no token is judged, such as padding.
NOT_JUDGED = -100
# The input that says which tokens are padding (0), and those that hold no tokens.
_MASK = "attention_mask"
_ABOUT = (_MASK, "token_type_ids", "position_ids")
_TOKENS = "input_ids"

# What makes classes of one-hot labels.
ARGMAX = "here each row has a single 1, so give `label.argmax(axis=1)`"
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
        how = f": {ARGMAX}" if all(map(is_one_hot, labels)) else ""
        raise _no_classes(f"{column} has the shape {shape} in each row", f"a class label is one value a row{how}")
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


def is_one_hot(label: np.ndarray) -> bool:
    """Whether each row of a label (rows, classes) has a single 1 among 0."""
    numbers = label.ndim == 2 and label.dtype.kind in "biuf"
    return numbers and bool(np.isin(label, (0, 1)).all() and (label.sum(axis=1) == 1).all())


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


def targets_of(
    task: str, inputs: Mapping[str, np.ndarray], name: str, column: np.ndarray | None, every: Sequence[np.ndarray]
) -> np.ndarray | None:
    """Return labels (rows, …) that are no classes: numbers, marks, tokens or groups; None where there are none.

    `column` (rows, …) is the label called `name`, `every` that of all rows by source. Raises PreconditionError X645,
    X570, X653, X654 and X655 for labels that are not what the task asks for.
    """
    kind = label_kind(task)
    if kind == "tokens":
        return token_targets(inputs, column, name)
    if column is None or kind in ("class", "none"):
        return None
    if kind == "groups":
        return group_numbers(column, np.concatenate(list(every)))
    return label_marks(column, name) if kind == "labels" else target_numbers(column, name)


def target_numbers(column: np.ndarray, name: str) -> np.ndarray:
    """Return labels as numbers, (rows, …) float64; PreconditionError X645 where one is no finite number."""
    if column.dtype.kind not in "iufb":
        raise _no_numbers(name, "text")
    numbers = column.astype(np.float64)
    gone = ~flat(np.isfinite(numbers)).all(axis=1)
    if gone.any():
        what = f"no finite number in {int(gone.sum())} of {len(numbers)} rows"
        raise _no_numbers(name, what, "leave these rows out, in the file or in a data factory")
    return numbers


def flat(values: np.ndarray) -> np.ndarray:
    """Return what each row holds as (rows, numbers), also of no rows."""
    return values.reshape(len(values), int(np.prod(values.shape[1:], dtype=np.int64)))


def label_marks(column: np.ndarray, name: str) -> np.ndarray:
    """Return which labels each row has, (rows, labels) of 0 and 1; PreconditionError X570 for anything else."""
    marks = flat(target_numbers(column, name))
    if not np.isin(marks, (0, 1)).all():
        seen = sorted(set(np.unique(marks).tolist()) - {0.0, 1.0})
        raise PreconditionError(
            Diagnostic(
                "X570",
                f"the label {name} holds {', '.join(f'{number:g}' for number in seen[:3])}",
                help="a label is 1 in a row that has it, else 0: decide in the data what is uncertain",
            )
        )
    return marks


def named_labels(
    marks: np.ndarray, stated: Sequence[PlainValue], critical: PlainValue | None
) -> tuple[tuple[str, ...], int | None]:
    """Name the labels of marks (rows, labels): as stated, else by their places; and find the place of the critical one.

    RecipeError X128 where others are stated than there are, X124 for a critical one that is none of them.
    """
    count = flat(marks).shape[1]
    if stated and len(stated) != count:
        raise RecipeError(
            Diagnostic(
                "X128", f"data.classes names {len(stated)} labels, and the rows have {count}",
                help="name every label, in the order of the columns and of the model's outputs", key="data.classes",
            )
        )  # fmt: skip
    names = tuple(map(value_text, stated or range(count)))
    return names, positive_class(Classes(names, names), critical)


def _no_numbers(
    name: str, what: str, advice: str = "name a column of numbers in data.label, or choose a task with classes"
) -> PreconditionError:
    message = f"the label {name} holds {what}, and the task asks for numbers"
    return PreconditionError(Diagnostic("X645", message, help=advice))


def token_targets(inputs: Mapping[str, np.ndarray], label: np.ndarray | None, name: str) -> np.ndarray:
    """Return the token that each position is to give, (rows, length) int64, -100 where none is judged.

    With a label, (rows, length), these are its numbers. Without one a position is to give the next token of the input,
    the last none; where the input `attention_mask` is 0 a token is padding, neither asked nor to be given. Raises
    PreconditionError X653 where no input holds the tokens, X654 where the label does not fit them, X655 for a document
    without any token to give.
    """
    if label is None:
        tokens, held = _input_tokens(inputs)
        targets = np.full(tokens.shape, NOT_JUDGED, np.int64)
        targets[:, :-1] = tokens[:, 1:]
        mask = inputs.get(_MASK)
        if mask is not None:
            if mask.shape != tokens.shape:
                raise _unfit(f"the input {_MASK} has shape {mask.shape}, and {held} has {tokens.shape}", _MASK)
            targets[:, :-1][(mask[:, 1:] == 0) | (mask[:, :-1] == 0)] = NOT_JUDGED
    else:
        targets = _label_tokens(inputs, label, name)
    _check_documents(targets)
    return targets


def _input_tokens(inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """Return the input that holds tokens, (rows, length), and its name."""
    held = {
        name: array
        for name, array in inputs.items()
        if array.ndim == 2 and array.dtype.kind in "iu" and name not in _ABOUT
    }
    chosen = _TOKENS if _TOKENS in held else next(iter(held), "")
    if not held or (len(held) > 1 and chosen != _TOKENS):
        shapes = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in inputs.items())
        what = "none" if not held else "several"
        raise PreconditionError(
            Diagnostic(
                "X653",
                f"the next tokens of the input are what a language model is to give, and {what} of the inputs holds "
                f"tokens, an array (rows, length) of whole numbers: {shapes}",
                help=f"call it {_TOKENS}, or name an array (rows, length) of the tokens to give in data.label",
            )
        )
    return held[chosen], chosen


def _label_tokens(inputs: Mapping[str, np.ndarray], label: np.ndarray, name: str) -> np.ndarray:
    if label.dtype.kind not in "iuf" or label.ndim != 2:
        shape = f"{label.dtype} of shape {label.shape}"
        raise _unfit(f"the label {name} is {shape}, and an array (rows, length) of token numbers is needed", name)
    if not np.isfinite(label).all() or (label != np.floor(label)).any():
        raise _unfit(f"the label {name} holds numbers that are no whole ones", name)
    targets = label.astype(np.int64)
    if (wrong := (targets < 0) & (targets != NOT_JUDGED)).any():
        message = f"the label {name} holds {int(targets[wrong][0])}: a token is 0 or more, and {NOT_JUDGED} is none"
        raise _unfit(message, name)
    judged = targets != NOT_JUDGED
    for other, array in inputs.items():
        whole = array.shape == targets.shape and array.dtype.kind in "iu" and judged.any()
        if whole and len(targets) > 1 and (array[judged] == targets[judged]).all():
            message = (
                f"the label {name} is the input {other} itself: each position would be asked for the token that it is "
                "given, not for the next one"
            )
            raise PreconditionError(
                Diagnostic("X654", message, help="leave data.label out: the next tokens of the input are judged then")
            )
    return targets


def _check_documents(targets: np.ndarray) -> None:
    empty = ~(targets != NOT_JUDGED).any(axis=1)
    if empty.any():
        raise PreconditionError(
            Diagnostic(
                "X655",
                f"{int(empty.sum()):,} of {len(targets):,} documents have no token to give, such as row "
                f"{int(np.flatnonzero(empty)[0])}: they are one token long, or nothing but padding",
                help="leave them out of the data",
            )
        )


def _unfit(message: str, name: str) -> PreconditionError:
    return PreconditionError(
        Diagnostic("X654", message, help=f"give {name} as the tokens that each position is to give, (rows, length)")
    )


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
    if not texts and (gone := int((~np.isfinite(every.astype(np.float64))).sum())):
        raise PreconditionError(
            Diagnostic(
                "X654",
                f"the label of an embedding is missing in {gone} of {len(every)} rows",
                help="say which rows these belong to, or leave them out",
            )
        )
    values = np.unique(every.astype(str) if texts else every)
    return np.searchsorted(values, column.astype(str) if texts else column).astype(np.int64)

"""Fit and apply `tokenize`, and cut documents into windows of tokens for language modeling."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from titrant.runtime.data.classes import NOT_JUDGED
from titrant.runtime.data.columns import is_text
from titrant.runtime.data.content import mix
from titrant.runtime.data.parameters import File, TransformStep
from titrant.runtime.data.text.tokenizers import Tokenizer, characters_in, of_characters, of_file, read_tokenizer
from titrant.runtime.values import Fitted, Transforms
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, RecipeError, StepError
from titrant.schema.recipe.transform import CHARACTERS
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted

TOKENIZE = "tokenize"
_FILE = "file"


class NamedTransform(Protocol):
    """A transform as the recipe has it, or as it is fitted."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def columns(self) -> Sequence[str] | None:
        """The columns that it works on; None: all that it takes."""


def fit_tokenize(columns: Mapping[str, np.ndarray], step: TransformStep) -> Fitted:
    """Learn the characters of all columns together, or keep the bytes of the tokenizer that the recipe names.

    Raises RecipeError X122 for a column of numbers, X611 for a file that holds no tokenizer.
    """
    for name, column in columns.items():
        if not is_text(column):
            message = f"tokenize: {name} is {'numbers' if column.dtype.kind in 'biuf' else 'no text'}"
            raise RecipeError(Diagnostic("X122", message, help="name the text `columns`"))
    if not columns:
        raise RecipeError(Diagnostic("X122", "tokenize: no input is text", help="take it out, or name a text column"))
    about: dict[str, Any] = {"length": step.length, "windows": step.windows}
    if not isinstance(step.tokenizer, File):
        characters = "".join(sorted(set().union(*map(characters_in, columns.values()))))
        return Fitted(TOKENIZE, tuple(columns), {**about, "tokenizer": CHARACTERS, "characters": characters}, {})
    file = Path(step.tokenizer.path)
    about |= {"tokenizer": file.name, "kind": file.suffix.lower()}
    return Fitted(TOKENIZE, tuple(columns), about, {_FILE: read_tokenizer(step.tokenizer.path)})


def tokenizer_of(fitted: Fitted) -> Tokenizer:
    """Return the tokenizer of a fitted step; RecipeError X611 where its package is not installed."""
    if fitted.params["tokenizer"] == CHARACTERS:
        return of_characters(fitted.params["characters"])
    return of_file(fitted.arrays[_FILE].tobytes(), fitted.params["kind"], fitted.params["tokenizer"])


def apply_tokenize(fitted: Fitted, place: int, column: np.ndarray) -> np.ndarray:
    """Return (rows, length) int64: the tokens of each text, filled up; what has been cut into windows stays as is.

    Longer texts are cut, and filled up shorter ones, as the tokenizer's file says: at the end, where it says nothing,
    and before what it adds to each text. A model that takes windows is given them whole: StepError X612 for more.
    """
    name = fitted.columns[place]
    if column.ndim == 2 and column.dtype == np.int64 and column.shape[1] == fitted.params["length"]:
        return column
    if not is_text(column):
        raise StepError(Diagnostic("X122", f"tokenize: {name} is no text", help="give text, as when it was fitted"))
    tokenizer, length = tokenizer_of(fitted), int(fitted.params["length"])
    tokens = np.full((len(column), length), tokenizer.padding, np.int64)
    in_windows = bool(fitted.params["windows"])
    for row, text in enumerate(column.tolist()):
        own = tokenizer.encode(text) if in_windows else tokenizer.cut(text, length)
        if len(own) > length:
            message = f"{name} has {counted(len(own), 'token')} in row {row}, and the model takes {length:,} at once"
            raise StepError(Diagnostic("X612", message, help="give windows of it, each as a text of its own"))
        start = length - len(own) if tokenizer.pads_left and not in_windows else 0
        tokens[row, start : start + len(own)] = own
    return tokens


@dataclass(frozen=True)
class Windows:
    """Rows as windows of documents; without `tokenize` in windows each document is one, and stays as it is.

    `columns` are as given, with tokens (windows, length) in place of text; `documents` (windows,) says which document
    each is of, `places` which window of it, `tokens` how many of its tokens are no padding.
    """

    columns: Mapping[str, np.ndarray]
    documents: np.ndarray
    places: np.ndarray
    tokens: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.documents)

    def ids(self, hashes: np.ndarray) -> np.ndarray:
        """Return the hash of each window, (windows,) uint64; the first one of a document has that of the document."""
        spread = hashes[self.documents]
        return np.where(self.places == 0, spread, mix(spread ^ mix(self.places.astype(np.uint64))))

    def judged(self, targets: np.ndarray) -> np.ndarray:
        """Return the tokens to give, (windows, length), without those that padding would be asked for."""
        if self.tokens is None or targets.ndim != 2:
            return targets
        beyond = np.arange(targets.shape[1]) >= self.tokens[:, None] - 1
        return np.where(beyond, NOT_JUDGED, targets)


def windows(transforms: Transforms, columns: Mapping[str, np.ndarray]) -> Windows:
    """Cut each document into windows of `length` tokens, of which each begins with the last token of the one before.

    So every token but the first of a document is to be given once, and none is asked for across documents. A document
    of fewer than two tokens has none to give, and is left out. Raises RecipeError X613 for several texts,
    PreconditionError X613 where no document is left.
    """
    count = len(next(iter(columns.values()), ()))
    every = np.arange(count)
    step = next((step for step in transforms.steps if step.name == TOKENIZE and step.params["windows"]), None)
    if step is None:
        return Windows(columns, every, np.zeros(count, np.int64))
    name = _only(step)
    tokenizer, length = tokenizer_of(step), int(step.params["length"])
    parts: list[np.ndarray] = []
    documents, places, sizes = [], [], []
    for document, text in enumerate(columns[name].tolist()):
        tokens = tokenizer.encode(text)
        for place, start in enumerate(range(0, len(tokens) - 1, length - 1)):
            part = tokens[start : start + length]
            parts.append(np.pad(part, (0, length - len(part)), constant_values=tokenizer.padding))
            documents.append(document)
            places.append(place)
            sizes.append(len(part))
    if count and not parts:
        message = f"no document has two tokens, of {counted(count, 'document')}: there is none to give"
        raise PreconditionError(Diagnostic("X613", message, help="name longer documents, or another `separator`"))
    rows = np.array(documents, np.int64)
    cut = {other: column[rows] for other, column in columns.items() if other != name}
    tokens = np.array(parts, np.int64).reshape(-1, length)
    cut_columns = {other: tokens if other == name else cut[other] for other in columns}
    return Windows(cut_columns, rows, np.array(places, np.int64), np.array(sizes, np.int64))


def _only(step: Fitted) -> str:
    if len(step.columns) > 1:
        message = f"a language model is given one text, and `tokenize` works on {', '.join(step.columns)}"
        raise RecipeError(Diagnostic("X613", message, help="name one in `columns`, and leave the others out"))
    return step.columns[0]


def as_tokens(columns: Mapping[str, np.ndarray], steps: Sequence[NamedTransform]) -> dict[str, np.ndarray]:
    """Return columns with an empty array (0, length) of tokens in place of each text that becomes one."""
    shown = dict(columns)
    for step in steps:
        if step.name == TOKENIZE:
            length = step.params["length"] if isinstance(step, Fitted) else getattr(step, "length", None)
            chosen = [name for name, column in shown.items() if is_text(column)]
            for name in step.columns or chosen:
                if name in shown:
                    shown[name] = np.zeros((0, int(length or 0)), np.int64)
    return shown

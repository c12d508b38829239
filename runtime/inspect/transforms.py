"""Say of every transform where its figures come from, what one_hot makes columns of, and what that leaves out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from titrant.runtime.data.given import fitted_words
from titrant.runtime.data.text.tokenizers import UNKNOWN
from titrant.runtime.data.tokenize import TOKENIZE, tokenizer_of
from titrant.runtime.operators.data.transform import fitting_role
from titrant.schema.facts import DataFacts, TransformFacts
from titrant.schema.recipe.transform import CHARACTERS, FITTED
from titrant.schema.values.units import counted

if TYPE_CHECKING:
    from titrant.runtime.operators.data.transform import DataTransformParams
    from titrant.runtime.values import Fitted, Rows, RowSplit, Tables, Transforms

ENCODES = "one_hot"
# An array of more dimensions, with the rows, holds images; pixels beyond that are no fractions, whatever rounding adds.
_IMAGE_RANK, _FRACTIONS_END = 2, 1.5
# A document of fewer tokens has none to give.
_FEWEST_TOKENS = 2


def describe_transforms(
    params: "DataTransformParams", transforms: "Transforms", rows: Mapping[str, "Rows"], tables: "Tables"
) -> tuple[TransformFacts, ...]:
    """Return a line for each transform, in order."""
    # Windows of a document are rows of their own, and what is fitted is fitted on documents.
    cut = any(step.params.get("windows") for step in transforms.steps)
    counts = {role: len(np.unique(part.units)) if cut else len(part) for role, part in rows.items()}
    role = fitting_role(counts) or ""
    described = []
    for place, fitted in enumerate(transforms.steps):
        if params.transform_from is not None:
            origin = "loaded"
        elif fitted.name not in FITTED:
            origin = ""
        else:
            step = params.transforms[place]
            origin = "kept" if step.keeps_gaps else "given" if step.given else "fitted"
        values = _values(fitted)
        described.append(
            TransformFacts(
                name=fitted.name,
                origin=origin,
                role=role if origin == "fitted" else "",
                rows=counts.get(role, 0) if origin == "fitted" else 0,
                columns=fitted.columns,
                values=values,
                unlisted=_unlisted(values, tables),
                vocabulary=tokenizer_of(fitted).vocabulary if fitted.name == TOKENIZE else 0,
            )
        )
    return tuple(described)


def unlisted(transforms: "Transforms", tables: "Tables") -> dict[str, int]:
    """Count by column the rows with a value that no input of a one_hot stands for."""
    return {name: count for step in transforms.steps for name, count in _unlisted(_values(step), tables).items()}


def _values(fitted: "Fitted") -> dict[str, tuple[str, ...]]:
    if fitted.name != ENCODES:
        return {}
    return {name: tuple(fitted.arrays[str(place)].tolist()) for place, name in enumerate(fitted.columns)}


def _unlisted(values: Mapping[str, tuple[str, ...]], tables: "Tables") -> dict[str, int]:
    """Count, over all sources, the rows with a value that has no column; missing ones have none either way."""
    from titrant.runtime.data.transforms import texts

    counted: dict[str, int] = {}
    for name, listed in values.items():
        columns = [table.columns[name] for table in tables.sources.values() if name in table.columns]
        written = [texts(column) for column in columns if column.ndim == 1 and column.dtype.kind != "O"]
        others = sum(int((~np.isin(part, [*listed, ""])).sum()) for part in written)
        if others:
            counted[name] = others
    return counted


def text_notes(transforms: "Transforms", rows: Mapping[str, "Rows"], tables: "Tables", split: "RowSplit") -> list[str]:
    """Say which documents have no token to give, which texts are cut, and how many characters are not known."""
    notes = []
    for step in transforms.steps:
        if step.name != TOKENIZE:
            continue
        texts = [
            text
            for sources in split.roles.values()
            for source, places in sources.items()
            for name in step.columns
            for text in tables.sources[source].columns[name][places].tolist()
        ]
        tokenizer, length = tokenizer_of(step), int(step.params["length"])
        sizes = [len(tokenizer.encode(text)) for text in texts]
        if step.params["windows"]:
            short = sum(size < _FEWEST_TOKENS for size in sizes)
            notes += [
                f"{counted(short, 'document')} of fewer than two tokens, which have none to give, left out"
            ] * bool(short)
        else:
            longer = sum(size > length for size in sizes)
            notes += [f"{longer:,} of {len(sizes):,} texts have more than {length:,} tokens, and are cut"] * bool(
                longer
            )
        notes += _unknown(step, transforms, rows)
    return notes


def pixel_notes(transforms: "Transforms", tables: "Tables") -> list[str]:
    """Name images that `normalize` takes for fractions, with a mean and deviation of fractions, and that are none."""
    notes, changed = [], set[str]()
    for step in transforms.steps:
        for place, name in enumerate(step.columns):
            pixels = [table.columns[name] for table in tables.sources.values() if name in table.columns]
            if step.name != "normalize" or name in changed or not _are_beyond_one(pixels):
                continue
            figures = [step.arrays[f"{place}.{key}"] for key in ("mean", "spread")]
            if step.params["scale"] != 1 or max(float(figure.max()) for figure in figures) <= 1:
                top = max(float(part.max()) for part in pixels)
                notes.append(
                    f"{name} has numbers up to {top:,.0f}, which `normalize` takes for fractions: give uint8, or "
                    "fractions, or mean and std in the range of the numbers"
                )
        changed |= set(step.columns) if step.name in ("standardize", "normalize") else set()
    return notes


def _are_beyond_one(pixels: "Sequence[np.ndarray]") -> bool:
    """Whether arrays hold pixels that are neither fractions nor bytes, of which `normalize` knows the range."""
    images = all(part.ndim > _IMAGE_RANK and part.dtype.kind in "iuf" and part.dtype != np.uint8 for part in pixels)
    return images and any(len(part) and float(part.max()) > _FRACTIONS_END for part in pixels)


def _unknown(step: "Fitted", transforms: "Transforms", rows: Mapping[str, "Rows"]) -> list[str]:
    """Count the characters that no train row has, in the rows that judge."""
    inputs = [name for name, columns in transforms.inputs.items() if {*columns} & {*step.columns}]
    if step.params["tokenizer"] != CHARACTERS:
        return []
    tokens = [rows["evaluation"].inputs[name] for name in inputs if len(rows["evaluation"])]
    count = sum(int((array == UNKNOWN).sum()) for array in tokens)
    return [
        f"{counted(count, 'character')} of the evaluation rows are in no train row, and one token stands for them"
    ] * (count > 0)


def fitted_advice(data: DataFacts | None) -> str:
    """Say what one_hot was fitted on, which may be what does not fit a model; "" where it was not fitted."""
    fitted = [item for item in data.transforms if item.origin == "fitted" and item.values] if data is not None else []
    return fitted_words(fitted[0].values, fitted[0].role, fitted[0].rows) if fitted else ""

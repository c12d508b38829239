"""Say of every transform where its figures come from, what one_hot makes columns of, and what that leaves out."""

from collections.abc import Mapping
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
            notes += [f"{longer:,} of {len(sizes):,} texts lose what is behind their first {length:,} tokens"] * bool(
                longer
            )
        notes += _unknown(step, transforms, rows)
    return notes


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

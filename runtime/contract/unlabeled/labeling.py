"""Gather both models' answers to rows without labels, and choose those that need one: where the models differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import read_answers
from titrant.runtime.contract.evidence import Unlabeled
from titrant.runtime.contract.reading import Reading
from titrant.runtime.data.columns import value_text
from titrant.runtime.values import Outputs, Rows, Table

# What tells a labeler which row it is, where its columns do not.
PLACE_COLUMN, FILE_COLUMN = "titrant_place", "titrant_file"


def gather_unlabeled(
    reading: Reading, rows: Rows, outputs: tuple[Outputs, Outputs], point: Mapping[str, Any], labels: Mapping[str, Any]
) -> Unlabeled:
    """Read the outputs of the original and the candidate for rows without labels, and the labels that some have got.

    `point` is the operating point, `labels` what data.labels gives, or empty. Raises StepError X420 for outputs that do
    not fit the rows or the classes.
    """
    original, candidate = (read_answers(reading, rows, given, point) for given in outputs)
    places = np.full(len(rows), -1, dtype=np.int64)
    for place, number in labels.get("labels", ()):
        places[place] = number
    return Unlabeled(rows, original, candidate, places)


@dataclass(frozen=True)
class RowsToLabel:
    """Places of rows in a random order, how many differ by candidate, and the classes of those labeled already."""

    places: np.ndarray
    differing: Mapping[str, int]
    labels: Mapping[int, str]


def rows_to_label(answers: Mapping[str, Unlabeled], seed: int) -> RowsToLabel:
    """Gather the rows on which any candidate decides otherwise; neither order nor choice tells how anybody decides."""
    masks = {name: given.original.decisions != given.candidate.decisions for name, given in answers.items()}
    needed = np.any(np.stack(list(masks.values())), axis=0)
    places = np.random.default_rng(seed).permutation(np.flatnonzero(needed))
    first = next(iter(answers.values()))
    labels = {int(place): first.rows.classes[first.labels[place]] for place in places if first.labels[place] >= 0}
    return RowsToLabel(places, {name: int(mask.sum()) for name, mask in masks.items()}, labels)


def shown_columns(table: Table, names: Table, places: Sequence[int]) -> dict[str, list[str]]:
    """Return what a labeler sees of some rows, as text by column: their values, their files, or their places."""
    columns = {name: [value_text(column[place]) for place in places] for name, column in table.columns.items()}
    if "file" in names.columns:
        columns = {FILE_COLUMN: [str(names.columns["file"][place]) for place in places], **columns}
    elif not columns:
        columns = {PLACE_COLUMN: [str(names.columns["place"][place]) for place in places]}
    return columns

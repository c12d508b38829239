"""Load every source of a recipe under one set of column names."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from titrant.runtime.data.bundled import hidden, read_bundled
from titrant.runtime.data.columns import find, missing
from titrant.runtime.data.factories import read_factory
from titrant.runtime.data.files import read_csv, read_npz, read_parquet
from titrant.runtime.data.images import read_images
from titrant.runtime.data.parameters import Source
from titrant.runtime.data.random_inputs import random_table
from titrant.runtime.values import Table, Tables
from titrant.schema.diagnostics import Diagnostic, RecipeError, StepError

if TYPE_CHECKING:
    from titrant.runtime.operators.data_load import DataLoadParams


def load(params: "DataLoadParams", *, seed: int) -> Tables:
    """Read every source, or draw random inputs where there are none."""
    if not params.sources:
        return Tables({"source": random_table(params.random, params.random_rows, seed)})
    return Tables({name: _load_source(source, name, params) for name, source in params.sources.items()})


def _load_source(source: Source, name: str, params: "DataLoadParams") -> Table:
    renamed = _names(source, name, params)
    wanted = None if params.inputs is None else [*dict.fromkeys([*renamed, *params.keep])]
    table = _read(source, name, wanted, source.label or params.label, resize=params.resize)
    for column in params.keep:
        find(table.columns, column, _called(name), "data.subgroups or data.split.by")
    columns = _select(table.columns, renamed, wanted, name, hidden(source.sklearn))
    _check_lengths(columns, name)
    if params.label is not None:
        columns[params.label] = _checked_label(columns[params.label], params.label, name)
    return Table(columns, table.label_names, table.notes)


def _names(source: Source, name: str, params: "DataLoadParams") -> dict[str, str]:
    """Map this source's own column names to those that later steps use."""
    own = source.inputs if source.inputs is not None else params.inputs or ()
    common = params.inputs or ()
    if len(own) != len(common):
        raise RecipeError(
            Diagnostic(
                "X101",
                f"source {name} names {len(own)} inputs where the others name {len(common)}",
                help="list as many `inputs` for each source, in the same order",
            )
        )
    renamed = dict(zip(own, common, strict=True))
    if params.label is not None:
        renamed[source.label or params.label] = params.label
    return renamed


def _read(source: Source, name: str, wanted: Sequence[str] | None, label: str | None, *, resize: bool) -> Table:
    if source.sklearn is not None:
        return read_bundled(source.sklearn)
    if source.csv is not None:
        columns, notes = read_csv(source.csv.path)
        return Table(columns, notes=notes)
    if source.parquet is not None:
        return Table(read_parquet(source.parquet.path))
    if source.npz is not None:
        return Table(read_npz(source.npz.path, wanted))
    if source.image_folder is not None:
        return Table(read_images(source.image_folder.path, label=label, resize=resize))
    if source.factory is not None:
        return Table(read_factory(source, name))
    raise ValueError(f"source {name} has no kind")


def _select(
    columns: Mapping[str, np.ndarray],
    renamed: Mapping[str, str],
    wanted: Sequence[str] | None,
    name: str,
    unless_named: Sequence[str],
) -> dict[str, np.ndarray]:
    for column, common in renamed.items():
        find(columns, column, _called(name), "data.label" if column != common or wanted is None else "data")
    if wanted is None:
        return {renamed.get(column, column): values for column, values in columns.items() if column not in unless_named}
    return {renamed.get(column, column): find(columns, column, _called(name), "data") for column in wanted}


def _called(name: str) -> str:
    return "the data" if name == "source" else f"source {name}"


def _check_lengths(columns: Mapping[str, np.ndarray], name: str) -> None:
    flat = [column for column, values in columns.items() if values.ndim == 0]
    lengths = {column: len(values) for column, values in columns.items() if values.ndim}
    if flat:
        raise StepError(
            Diagnostic("X102", f"{_called(name)}: {flat[0]} is a single number", help="give one entry a row")
        )
    if len(set(lengths.values())) > 1:
        first, *others = lengths.items()
        other = next(item for item in others if item[1] != first[1])
        raise StepError(
            Diagnostic(
                "X102",
                f"{_called(name)}: {first[0]} has {first[1]} rows and {other[0]} has {other[1]}",
                help="name the arrays that belong together in `inputs` and `label`",
            )
        )
    if not columns or not next(iter(lengths.values())):
        raise StepError(Diagnostic("X103", f"{_called(name)} has no rows", help="check the file or the factory"))


def _checked_label(label: np.ndarray, column: str, name: str) -> np.ndarray:
    if label.ndim == 2 and label.shape[1] == 1:
        label = label[:, 0]
    if label.ndim == 1 and (gone := int(missing(label).sum())):
        raise StepError(
            Diagnostic(
                "X104",
                f"{_called(name)}: {gone} of {len(label)} rows have no label in {column}",
                help="leave these rows out, in the file or in a data factory",
            )
        )
    return label

"""Load every source of the data as a table of named columns or arrays, under one set of names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, inspected
from titrant.runtime.data.parameters import CsvOptions, InputSpecs, Names, SourceParams, TextOptions, source_words
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import Hardware, ModelFacts, has_text, tables_bytes
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.data.readers import FactoryAnswers
    from titrant.runtime.values import Table, Tables

# Bytes that a reader decodes in a second, what it holds beside the data, and for each text while it is read.
_READ_BYTES_PER_SECOND = 100e6
_READER_BYTES, _TEXT_BYTES = 1 << 20, 250
# What the user's own code imports and holds beside the data.
_FACTORY_BYTES = 7 << 20


class DataLoadParams(Params):
    """What to read.

    `sources` holds a recipe's single `data.source` under "source". `inputs` and `label` are the names that later
    steps use: `data.inputs` and `data.label`, or else those of the first source that has its own. `inputs` None: every
    column. `keep` names further columns to load beside them (subgroups, `split.by`). Without sources, `random` are
    the model inputs to draw.
    """

    sources: dict[str, SourceParams] = Field(default_factory=dict)
    inputs: Names | None = None
    label: str | None = None
    label_parts: Names = Field(
        (), exclude_if=lambda value: not value, description="columns of 0 and 1 that become the array `label`"
    )
    keep: Names = ()
    random: InputSpecs = Field((), description="model inputs to fill with seeded random values, where there is no data")
    random_rows: int = Field(256, ge=1)
    resize: bool = Field(False, description="a resize transform follows, so images may differ in size")
    id: str | None = Field(
        None, exclude_if=lambda value: value is None, description="column that names a row, which is no input"
    )
    id_optional: bool = Field(
        False, exclude_if=lambda value: not value, description="a source may lack that column, as others have it"
    )


def predict(
    params: DataLoadParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count what is kept; the time is what reading took when the data was inspected, or else a guess by its bytes."""
    data = work.data
    if data is None:
        return Prediction(seconds=0.05, basis="guess")
    size = tables_bytes(data)
    seconds, basis = inspected(data, "load", BASE_SECONDS + size / _READ_BYTES_PER_SECOND)
    bases = {"seconds": basis, "output_bytes": "modelled" if has_text(data) else "counted"}
    texts = data.rows * sum(column.dtype == "text" for column in data.columns)
    own = _FACTORY_BYTES if any(source.factory for source in params.sources.values()) else 0
    # A csv file is held as text before its columns are numbers.
    times = 6.0 if any(source.csv for source in params.sources.values()) else 2.4
    peak = int(size * times) + _TEXT_BYTES * texts + _READER_BYTES + own
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=size, basis="modelled", bases=bases)


def loads(params: DataLoadParams) -> tuple[str, ...]:
    """Load the readers of the sources' formats."""
    sources = params.sources.values()
    readers = {
        "sklearn.datasets": any(source.sklearn for source in sources),
        "pandas": any(source.csv or source.parquet for source in sources),
        "pyarrow.csv": any(source.csv for source in sources),
        "titrant.runtime.data.delimited.read": any(source.csv for source in sources),
        "pyarrow.parquet": any(source.parquet for source in sources),
        "titrant.runtime.data.images.read": any(source.image_folder for source in sources),
        "titrant.runtime.data.text.documents": any(source.text for source in sources),
    }
    return ("titrant.runtime.data.readers", *(name for name, used in readers.items() if used))


@operator(
    "data.load",
    version=6,
    family="data",
    params=DataLoadParams,
    inputs={},
    outputs={"tables": "tables"},
    predict=predict,
    loads=loads,
    libraries=("numpy", "pandas", "pyarrow", "pillow", "scikit-learn"),
    user_code=True,
)
def data_load(params: DataLoadParams, context: Context) -> Mapping[str, Any]:
    """Read every source into columns or arrays of equal length.

    Helps when: always; it is the first step of every plan.
    Inputs:     none
    Outputs:    tables - source → columns (rows,) or arrays (rows, …); numbers keep their dtype, text is Unicode with
                "" for missing, images are float32 (rows, 3 or 1, height, width) in 0..1
    Fails:      StepError on a missing or unreadable file, object arrays, a column that is not there, lengths that
                differ, no rows, a label that is missing, a factory that raises
    Cost:       one read of each file, one call of a factory whatever it returns; the data is held in memory once
    """
    return given(load(params, seed=context.seed), context)


def given(tables: "Tables", context: Context) -> Mapping[str, Any]:
    """Return what the operator gives of what was loaded, and measure it."""
    context.measure("rows", sum(table.rows for table in tables.sources.values()))
    return {"tables": tables}


def load(params: DataLoadParams, *, seed: int) -> "Tables":
    """Read every source, or draw random inputs where there are none."""
    from titrant.runtime.data.readers import random_table
    from titrant.runtime.values import Tables

    if not params.sources:
        return Tables({"source": random_table(params.random, params.random_rows, seed)})
    made: FactoryAnswers = {}
    return Tables({name: _load_source(source, name, params, made) for name, source in params.sources.items()})


def _load_source(source: SourceParams, name: str, params: DataLoadParams, made: "FactoryAnswers") -> "Table":
    from titrant.runtime.data.columns import find
    from titrant.runtime.data.readers import hidden
    from titrant.runtime.data.text.documents import PLACES
    from titrant.runtime.values import Table

    renamed = _names(source, name, params)
    selected = None if params.inputs is None else [*dict.fromkeys([*renamed, *params.keep])]
    naming = [] if params.id is None or params.id_optional else [params.id]
    reading = None if selected is None else [*selected, *naming]
    if reading is not None and params.label_parts:
        reading = [*(column for column in reading if column != params.label), *params.label_parts]
    table = _read(source, name, reading, source.label or params.label, resize=params.resize, made=made)
    if params.label_parts:
        table = _with_labels(table, name, params)
    for column in naming:
        find(table.columns, column, source_words(name), "data.id")
    for column in params.keep:
        find(table.columns, column, source_words(name), "data.subgroups")
    places = () if source.text is None else PLACES
    unless_named = (*hidden(source.sklearn), *places, *([params.id] if params.id is not None else []))
    columns = _select(table.columns, renamed, selected, name, unless_named)
    _check_lengths(columns, name)
    if params.label is not None:
        marks = table.marks.get(source.label or params.label, ())
        columns[params.label] = _checked_label(columns[params.label], params.label, name, marks)
    marks_by_name = {renamed.get(column, column): marks for column, marks in table.marks.items()}
    called = table.columns.get(params.id) if params.id is not None else None
    names = None if called is None else own_names(called, str(params.id))
    return Table(columns, table.label_names, table.notes, table.deep_whites, marks_by_name, names)


def own_names(column: "np.ndarray", name: str) -> "np.ndarray":
    """Return the rows' own names as text; RecipeError X226 where they do not tell the rows apart."""
    import numpy as np

    from titrant.runtime.data.columns import missing, value_text

    gone = int(missing(column).sum())
    texts = np.array([value_text(value) for value in column.tolist()], dtype=str)
    twice = len(texts) - len(np.unique(texts))
    if column.ndim != 1 or gone or twice:
        what = "is an array" if column.ndim != 1 else f"is missing in {gone:,} of {len(texts):,} rows"
        what = f"names {twice:,} of {len(texts):,} rows as another one" if twice and not gone else what
        help = "name a column with another value in each row, or take `id` out"
        raise RecipeError(Diagnostic("X226", f"`{name}` {what}", help=help, key="data.id"))
    return texts


def _with_labels(table: "Table", name: str, params: DataLoadParams) -> "Table":
    """Stack the columns of several labels into one array, (rows, labels), in their place."""
    import numpy as np

    from titrant.runtime.data.columns import find

    parts = [find(table.columns, column, source_words(name), "data.label") for column in params.label_parts]
    for column, values in zip(params.label_parts, parts, strict=True):
        if values.dtype.kind not in "iufb":
            raise RecipeError(
                Diagnostic(
                    "X570",
                    f"{source_words(name)}: the label {column} holds text",
                    help="give each label a column of 0 and 1",
                    key="data.label",
                )
            )
    kept = {column: values for column, values in table.columns.items() if column not in params.label_parts}
    stacked = np.stack([values.astype(np.float64) for values in parts], axis=1)
    return replace(table, columns={**kept, str(params.label): stacked})


def _names(source: SourceParams, name: str, params: DataLoadParams) -> dict[str, str]:
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


def _read(
    source: SourceParams,
    name: str,
    selected: Sequence[str] | None,
    label: str | None,
    *,
    resize: bool,
    made: "FactoryAnswers",
) -> "Table":
    from titrant.runtime.data.readers import read_bundled, read_factory, read_npz, read_parquet
    from titrant.runtime.values import Table

    if source.sklearn is not None:
        return read_bundled(source.sklearn)
    if source.csv is not None:
        from titrant.runtime.data.delimited.read import read_csv

        return read_csv(source.csv.path, source.csv_options or CsvOptions())
    if source.parquet is not None:
        return Table(read_parquet(source.parquet.path))
    if source.npz is not None:
        return Table(read_npz(source.npz.path, selected))
    if source.image_folder is not None:
        from titrant.runtime.data.images.read import read_images

        reading = None if source.images is None else source.images.reading
        masks = None if source.masks is None else source.masks.path
        return read_images(source.image_folder.path, label=label, resize=resize, reading=reading, masks=masks)
    if source.text is not None:
        from titrant.runtime.data.text.documents import read_text

        cut = source.text_options or TextOptions()
        return read_text(source.text.path, documents=cut.documents, separator=cut.separator)
    if source.factory is not None:
        return Table(read_factory(source, name, made))
    raise ValueError(f"source {name} has no kind")


def _select(
    columns: "Mapping[str, np.ndarray]",
    renamed: Mapping[str, str],
    selected: Sequence[str] | None,
    name: str,
    unless_named: Sequence[str],
) -> "dict[str, np.ndarray]":
    from titrant.runtime.data.columns import find

    for column, common in renamed.items():
        find(columns, column, source_words(name), "data.label" if column != common or selected is None else "data")
    if selected is None:
        return {renamed.get(column, column): values for column, values in columns.items() if column not in unless_named}
    return {renamed.get(column, column): find(columns, column, source_words(name), "data") for column in selected}


def _check_lengths(columns: "Mapping[str, np.ndarray]", name: str) -> None:
    flat = [column for column, values in columns.items() if values.ndim == 0]
    lengths = {column: len(values) for column, values in columns.items() if values.ndim}
    if flat:
        raise StepError(
            Diagnostic("X102", f"{source_words(name)}: {flat[0]} is a single number", help="give one entry a row")
        )
    if len(set(lengths.values())) > 1:
        first, *others = lengths.items()
        other = next(item for item in others if item[1] != first[1])
        raise StepError(
            Diagnostic(
                "X102",
                f"{source_words(name)}: {first[0]} has {first[1]} rows and {other[0]} has {other[1]}",
                help="name the arrays that belong together in `inputs` and `label`",
            )
        )
    if not columns or not next(iter(lengths.values())):
        raise StepError(Diagnostic("X103", f"{source_words(name)} has no rows", help="check the file or the factory"))


def _checked_label(label: "np.ndarray", column: str, name: str, marks: tuple[str, ...]) -> "np.ndarray":
    from titrant.runtime.data.columns import missing

    if label.ndim == 2 and label.shape[1] == 1:
        label = label[:, 0]
    if label.ndim == 1 and (gone := int(missing(label).sum())):
        read = f", where {' and '.join(f'`{mark}`' for mark in marks)} is read as missing" if marks else ""
        message = f"{source_words(name)}: {gone} of {len(label)} rows have no label in {column}{read}"
        advice = "leave these rows out, in the file or in a data factory"
        if marks:
            advice += "; `csv: {path: …, missing: []}` reads such texts as a class"
        raise StepError(Diagnostic("X104", message, help=advice))
    return label

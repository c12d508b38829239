"""Load rows without labels and make the model's inputs of them, apart from every row that has a role."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, inspected
from titrant.runtime.data.parameters import SourceParams, SubgroupColumn
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import Hardware, ModelFacts, rows_bytes
from titrant.schema.plan import Prediction
from titrant.schema.recipe.data import Overlap

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.values import Rows, RowSplit, Table, Tables, Transforms

UNLABELED = "unlabeled"
# In the table of what names a row: its place in the source, the hash of its inputs, its own name, and its file.
NAMES, PLACE, CONTENT, OWN, FILE = "names", "place", "content", "own", "file"
_MADE_BYTES_PER_SECOND = 150e6


class DataUnlabeledParams(Params):
    """What to read; `subgroups` as in data.transform. The inputs are the columns that the transforms were fitted on."""

    source: SourceParams
    by: str | None = Field(None, description="the column that `split.by` names")
    id: str | None = Field(None, description="column that names a row")
    overlap: Overlap = "error"
    subgroups: dict[str, SubgroupColumn] = Field(default_factory=dict)
    resize: bool = Field(False, description="a resize transform follows, so images may differ in size")
    raw: bool = Field(False, description="also give them as raw columns, for files that hold their transforms")


def predict(
    params: DataUnlabeledParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the rows; the time is what loading and transforming the other rows took, for as many rows."""
    data = work.data
    if data is None or UNLABELED not in data.roles:
        return Prediction(seconds=0.05, basis="guess")
    size = rows_bytes(data, UNLABELED)
    seconds, basis = inspected(data, UNLABELED, BASE_SECONDS + size / _MADE_BYTES_PER_SECOND)
    return Prediction(seconds=seconds, peak_bytes=4 * size + (1 << 20), output_bytes=2 * size, basis=basis)


@operator(
    "data.unlabeled",
    version=5,
    family="data",
    params=DataUnlabeledParams,
    inputs={"tables": "tables", "split": "split", "transforms": "transforms", "rows": "rows"},
    outputs={"unlabeled": "rows", "tables": "tables", "raw": "rows"},
    predict=predict,
    loads=("titrant.runtime.data.transforms", "titrant.runtime.data.raw"),
    libraries=("numpy", "pandas", "pyarrow", "pillow", "scikit-learn"),
    user_code=True,
)
def data_unlabeled(
    params: DataUnlabeledParams,
    context: Context,
    *,
    tables: "Tables",
    split: "RowSplit",
    transforms: "Transforms",
    rows: "Rows",
) -> Mapping[str, Any]:
    """Read rows without labels, keep those that have no role elsewhere, and apply the fitted transforms.

    Helps when: labels cost more than rows; only rows that two models decide otherwise need one
    Inputs:     tables, split - the sources and who has which row; transforms - as fitted; rows - tuning rows, for the
                classes and the values of subgroups
    Outputs:    unlabeled - as the rows of a role, without labels; tables - the columns of single values of these rows
                under "unlabeled", and under "names" their places in the source, the hashes of their inputs, and their
                names and files where they have any; raw - with `raw` the same rows as data.raw gives those of a
                role, without it `unlabeled` again
    Fails:      RecipeError X225 for rows that stand in a role as well, unless `overlap` is drop, and where none
                are left, X226 for names that are missing or stand twice; what reading and transforming other rows
                raises, and data.raw
    Cost:       one read, a hash and a pass for each transform
    """
    made, named, raw = unlabeled(params, tables, split, transforms, rows, seed=context.seed)
    context.measure("rows", len(made))
    return {"unlabeled": made, "tables": named, "raw": raw}


def unlabeled(
    params: DataUnlabeledParams,
    tables: "Tables",
    split: "RowSplit",
    transforms: "Transforms",
    rows: "Rows",
    *,
    seed: int,
) -> "tuple[Rows, Tables, Rows]":
    """Return the model-ready rows, the tables of what stands in them and names them, and what files of columns take."""
    import numpy as np

    from titrant.runtime.data.columns import find, value_text
    from titrant.runtime.data.content import number_hashes
    from titrant.runtime.data.groups import assign
    from titrant.runtime.data.raw import raw_columns
    from titrant.runtime.data.transforms import apply
    from titrant.runtime.values import Rows, Table, Tables

    names = tuple(dict.fromkeys(name for part in transforms.inputs.values() for name in part))
    table = _load(params, names, seed)
    columns = {name: find(table.columns, name, UNLABELED, "data.unlabeled") for name in names}
    kept, contents = _without_roles(params, tables, split, names, table)
    taken = {name: column[kept] for name, column in table.columns.items()}
    groups = {name: find(table.columns, group.column, UNLABELED, f"data.subgroups.{name}")[kept]
              for name, group in params.subgroups.items()}  # fmt: skip
    by = contents[kept] if params.by is None else np.array([value_text(v) for v in taken[params.by].tolist()])
    columns = {name: column[kept] for name, column in columns.items()}
    with _said_of_unlabeled():
        inputs = apply(transforms, columns)
        raw_inputs = raw_columns(transforms, columns) if params.raw else inputs
    ready = Rows(
        role=UNLABELED,
        inputs=inputs,
        labels=None,
        units=np.unique(by, return_inverse=True)[1].astype(np.int64),
        ids=contents[kept],
        numbers=number_hashes(columns.values()),
        classes=rows.classes,
        positive=rows.positive,
        ordered=rows.ordered,
        subgroups={
            name: assign(group, rows.subgroup_values[name], groups[name]) for name, group in params.subgroups.items()
        },
        subgroup_values=rows.subgroup_values,
    )
    single = {name: column for name, column in taken.items() if column.ndim == 1 and column.dtype.kind != "O"}
    naming = {PLACE: np.flatnonzero(kept).astype(np.int64), CONTENT: contents[kept]}
    if params.id is not None:
        from titrant.runtime.operators.data.load import own_names

        naming[OWN] = own_names(taken[params.id], params.id)
        single.pop(params.id, None)
    if params.source.image_folder is not None:
        from titrant.runtime.data.images.folder import image_names

        naming[FILE] = np.array(image_names(params.source.image_folder.path), dtype=str)[kept]
    notes = table.notes if kept.all() else (*table.notes, f"{int((~kept).sum()):,} rows have a role and are left out")
    return (
        ready,
        Tables({UNLABELED: Table(single, notes=notes), NAMES: Table(naming)}),
        replace(ready, inputs=raw_inputs),
    )


def _load(params: DataUnlabeledParams, names: tuple[str, ...], seed: int) -> "Table":
    from titrant.runtime.operators.data.load import DataLoadParams, load

    keep = [group.column for group in params.subgroups.values()]
    keep += [name for name in (params.by, params.id) if name is not None]
    reading = DataLoadParams(
        sources={UNLABELED: params.source}, inputs=names, keep=tuple(dict.fromkeys(keep)), resize=params.resize
    )
    with _said_of_unlabeled():
        return load(reading, seed=seed).sources[UNLABELED]


@contextmanager
def _said_of_unlabeled() -> Iterator[None]:
    """Let errors point at this source: what is wrong is wrong in it, wherever the recipe names it."""
    try:
        yield
    except (RecipeError, StepError) as error:
        raise type(error)(*(replace(diagnostic, key="data.unlabeled") for diagnostic in error.diagnostics)) from None


def _without_roles(
    params: DataUnlabeledParams, tables: "Tables", split: "RowSplit", names: tuple[str, ...], table: "Table"
) -> "tuple[np.ndarray, np.ndarray]":
    """Return which rows stand in no role, (rows,) bool, and the hashes of all, (rows,) uint64."""
    import numpy as np

    from titrant.runtime.data.columns import value_text
    from titrant.runtime.data.content import at_common_precision, row_hashes

    # A number here may be text there, where another row has a letter.
    own = [] if params.by is None else [value_text(value) for value in table.columns[params.by].tolist()]
    inputs = {name: table.columns[name] for name in names}
    contents = row_hashes(inputs)
    kept: np.ndarray = np.ones(len(contents), bool)
    shared: dict[str, int] = {}
    for role, sources in split.roles.items():
        for name, places in sources.items():
            columns = {column: tables.sources[name].columns[column][places] for column in names}
            mine, theirs = at_common_precision([inputs, columns])
            alike = all(mine[column] is inputs[column] for column in names)
            copies = np.isin(contents if alike else row_hashes(mine), row_hashes(theirs))
            if params.by is not None and len(places):
                units = set(map(value_text, tables.sources[name].columns[params.by][places].tolist()))
                copies |= np.array([value in units for value in own])
            if copies.any():
                shared[role] = shared.get(role, 0) + int(copies.sum())
                kept &= ~copies
    if shared and params.overlap == "error":
        raise RecipeError(_overlap(shared, len(contents), params.by))
    if not kept.any():
        message = f"each of the {len(kept):,} unlabeled rows stands in a role as well, and none is left"
        raise RecipeError(Diagnostic("X225", message, help="name rows that have no role", key="data.unlabeled"))
    return kept, contents


def _overlap(shared: Mapping[str, int], rows: int, by: str | None) -> Diagnostic:
    roles = ", ".join(f"{count:,} in {role}" for role, count in shared.items())
    what = "the same inputs" if by is None else f"the same inputs or {by}"
    return Diagnostic(
        "X225",
        f"of {rows:,} unlabeled rows some have a role already, by {what}: {roles}",
        help="`split: {overlap: drop}` leaves them in the role that they have",
        key="data.unlabeled",
    )

"""Give every row of every source one of the roles train, tuning, calibration and evaluation.

Rows that two sources share in different roles are an error, or are dropped from the role that does not judge.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, inspected
from titrant.runtime.data.parameters import Names, source_words
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, RecipeError
from titrant.schema.facts import Hardware, ModelFacts, split_bytes
from titrant.schema.plan import Prediction
from titrant.schema.recipe.data import PRECEDENCE, ROLES, Overlap
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.values import RowSplit, Table, Tables

# Numbers that are hashed in a second, and in one piece.
_HASHED_PER_SECOND = 25e6
_HASHED_AT_ONCE = 1 << 20


class DataSplitParams(Params):
    """Who gets what.

    `roles` maps a role to the sources that it draws from and the fraction of each: `train: 0.5` of the recipe is
    {"train": {"source": 0.5}}, `train: name` is {"train": {"name": 1.0}}. `by` is "row", "order", or a column whose
    equal values stay together. `inputs` and `label` as in data.load.
    """

    roles: dict[str, dict[str, float]]
    by: str = "row"
    stratify: bool = True
    overlap: Overlap = "error"
    inputs: Names | None = None
    label: str | None = Field(None, description="the column to stratify by")


def predict(
    params: DataSplitParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the places and units; the time is what splitting took when the data was inspected."""
    data = work.data
    if data is None:
        return Prediction(seconds=0.05, basis="guess")
    numbers = data.rows * sum(math.prod(column.shape) for column in data.columns)
    seconds, basis = inspected(data, "split", BASE_SECONDS + numbers / _HASHED_PER_SECOND)
    # Numbers are hashed in pieces, as 64-bit copies of which five are alive.
    peak = 40 * min(numbers, _HASHED_AT_ONCE) + 16 * data.rows
    bases = {"seconds": basis, "output_bytes": "counted"}
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=split_bytes(data), basis="modelled", bases=bases)


@operator(
    "data.split",
    version=4,
    family="data",
    params=DataSplitParams,
    inputs={"tables": "tables"},
    outputs={"split": "split"},
    predict=predict,
    loads=("titrant.runtime.data.groups",),
    libraries=("numpy",),
)
def data_split(params: DataSplitParams, context: Context, *, tables: "Tables") -> Mapping[str, Any]:
    """Give every row a role, by a hash of its content salted with the seed.

    Helps when: always; what trains, tunes, calibrates and judges must not share cases.
    Inputs:     tables - the sources as loaded
    Outputs:    split - role → source → sorted row indices, and the unit of every row: equal inputs, or equal
                values of the column that keeps rows together
    Fails:      PreconditionError when a class has fewer rows than there are roles, a source or column is not there,
                fractions exceed 1, or named sources share rows and `overlap` is error
    Cost:       one hash of the inputs and a sort; about a second and a half for a million rows of ten columns
    """
    result = split(params, tables, seed=context.seed)
    for role, sources in result.roles.items():
        context.measure(f"rows.{role}", sum(len(rows) for rows in sources.values()))
    return {"split": result}


@dataclass(frozen=True)
class _Source:
    """One source, with the content hash and the unit of each of its rows."""

    name: str
    table: "Table"
    contents: "np.ndarray"
    units: "np.ndarray"


def split(params: DataSplitParams, tables: "Tables", *, seed: int) -> "RowSplit":
    """Deal the rows of every source to its roles.

    Rows with equal inputs (by row), or equal values of a column, stay together; the order comes from a hash of their
    content salted with the seed, so it depends neither on the order of rows nor on that of columns.
    """
    from titrant.runtime.data.content import at_common_precision, input_names, row_hashes
    from titrant.runtime.values import RowSplit

    _check_roles(params, tables)
    named = [{name: table.columns[name] for name in input_names(params, table)} for table in tables.sources.values()]
    contents = dict(zip(tables.sources, map(row_hashes, at_common_precision(named)), strict=True))
    units, notes = _units(params, tables, contents)
    roles: dict[str, dict[str, np.ndarray]] = {role: {} for role in ROLES}
    for name, table in tables.sources.items():
        shares = {role: sources[name] for role, sources in params.roles.items() if sources.get(name)}
        dealt, said = _deal(params, _Source(name, table, contents[name], units[name]), shares, seed)
        notes += said
        for role, rows in dealt.items():
            roles[role][name] = rows
    kept, said, dropped = settle_overlap(params, roles, contents, units)
    _check_not_empty(params, kept)
    if params.by != "row":
        said += _copies(kept, contents)
    return RowSplit(kept, units, (*notes, *said), dropped)


def _check_roles(params: DataSplitParams, tables: "Tables") -> None:
    for role, sources in params.roles.items():
        if role not in ROLES:
            raise RecipeError(Diagnostic("X110", f"{role} is not a role", help=f"roles are {', '.join(ROLES)}"))
        for name in sources:
            if name not in tables.sources:
                names = ", ".join(tables.sources)
                raise RecipeError(
                    Diagnostic("X110", f"{role} draws from {name}, which is not a source", help=f"there is {names}")
                )
    for name in tables.sources:
        total = sum(sources.get(name, 0.0) for sources in params.roles.values())
        if total > 1 + 1e-9:
            raise RecipeError(
                Diagnostic(
                    "X110",
                    f"the roles take {total:g} of {source_words(name)}",
                    help="fractions of one source add up to 1 at most",
                )
            )


def _units(
    params: DataSplitParams, tables: "Tables", contents: "Mapping[str, np.ndarray]"
) -> "tuple[dict[str, np.ndarray], list[str]]":
    """Number the units over all sources: rows with equal inputs, or with equal values of the `by` column.

    A model answers copies of one input alike: they are no cases of their own, however often it was recorded. A column
    with a value of its own in every row, such as a number of the row, says of no rows that they belong together.
    """
    import numpy as np

    from titrant.runtime.data.columns import find, missing, value_text

    names = list(tables.sources)
    cuts = np.cumsum([tables.sources[name].rows for name in names])[:-1]
    if params.by in ("row", "order"):
        numbers = _first_with(np.concatenate([contents[name] for name in names]))
        return dict(zip(names, np.split(numbers, cuts), strict=True)), []
    columns = [find(tables.sources[name].columns, params.by, source_words(name), "data.split.by") for name in names]
    gone = sum(int(missing(column).sum()) for column in columns)
    if gone:
        raise PreconditionError(
            Diagnostic(
                "X110", f"{gone} rows have no {params.by}", help="every row needs a value of the `split.by` column"
            )
        )
    if any(column.ndim != 1 for column in columns):
        raise RecipeError(Diagnostic("X110", f"{params.by} is an array", help="`split.by` names a column"))
    if len({column.dtype.kind == "U" for column in columns}) > 1:
        columns = [np.array([value_text(value) for value in column.tolist()]) for column in columns]
    numbers, said = np.unique(np.concatenate(columns), return_inverse=True)[1].astype(np.int64), []
    if len(numbers) > 1 and int(numbers.max()) + 1 == len(numbers):
        numbers = _first_with(np.concatenate([contents[name] for name in names]))
        said.append(
            f"{params.by} has a value of its own in each of {len(numbers):,} rows and keeps none together: rows with "
            "equal inputs are one unit, as with `split.by: row`"
        )
    return dict(zip(names, np.split(numbers, cuts), strict=True)), said


def _first_with(contents: "np.ndarray") -> "np.ndarray":
    """Return for each row the number of the first row with its content, (rows,) int64."""
    import numpy as np

    _, first, place = np.unique(contents, return_index=True, return_inverse=True)
    return first.astype(np.int64)[place]


def _deal(
    params: DataSplitParams, source: _Source, shares: Mapping[str, float], seed: int
) -> "tuple[dict[str, np.ndarray], list[str]]":
    """Deal one source: role → sorted rows, and what a person should know."""
    import numpy as np

    from titrant.runtime.data.content import salted_order
    from titrant.runtime.data.groups import apportion, ensure_every_role, group_rows

    if not shares:
        return {}, []
    table = source.table
    ordered = [role for role in ROLES if role in shares]
    if len(ordered) == 1 and shares[ordered[0]] >= 1 - 1e-9:
        return {ordered[0]: np.arange(table.rows, dtype=np.int64)}, []
    fractions = np.array([*(shares[role] for role in ordered), max(0.0, 1 - sum(shares.values()))])
    if params.by == "order":
        return _deal_in_order(ordered, fractions, table.rows), []
    classes, names = _classes(params, table, source.name)
    group, keys = _groups(params, source)
    if params.by == "row":
        _check_rows(source, len(keys), ordered)
    else:
        _check_units(params.by, source, len(keys), ordered)
    groups = group_rows(group, classes, salted_order(keys, seed))
    if names:
        _check_classes(groups.classes, names, ordered, params.by)
    dealt = apportion(groups, fractions, len(names) or 1)
    if names:
        dealt = ensure_every_role(groups, dealt, np.array([*fractions[:-1], 0.0]), len(names))
    rows = dealt[group]
    said = _notes(params, source, group, int((rows == len(ordered)).sum()))
    return {role: np.flatnonzero(rows == place) for place, role in enumerate(ordered)}, said


def _check_units(by: str, source: _Source, count: int, roles: Sequence[str]) -> None:
    """Refuse a column whose rows of one value would leave a role of the source without any."""
    if count >= len(roles):
        return
    values = "the same value" if count == 1 else f"{count} values"
    message = (
        f"{by} has {values} in all {source.table.rows:,} rows of {source_words(source.name)}, for {len(roles)} roles, "
        "and rows of one value stay together"
    )
    advice = "name the column that tells patients apart as `split.by`, write `by: row`, or give the roles other sources"
    raise PreconditionError(Diagnostic("X435", message, help=advice))


def _check_rows(source: _Source, count: int, roles: Sequence[str]) -> None:
    """Refuse rows of which so many have equal inputs that a role of the source would be left without any."""
    if count >= len(roles):
        return
    if source.table.rows == 1:
        message = f"{source_words(source.name)} has one row, for {len(roles)} roles"
        advice = (
            "give the roles other sources; a text is parted by `text: {path: …, documents: line}`, or a `separator`"
        )
        raise PreconditionError(Diagnostic("X110", message, help=advice))
    rows = f"all {source.table.rows:,} rows of {source_words(source.name)}"
    equal = "have equal inputs" if count == 1 else f"have one of {count} inputs"
    message = f"{rows} {equal}, for {len(roles)} roles, and rows with equal inputs stay together"
    advice = "look whether `data.inputs` names what tells rows apart, and whether the source was read as it was meant"
    raise PreconditionError(Diagnostic("X110", message, help=advice))


def _deal_in_order(ordered: list[str], fractions: "np.ndarray", rows: int) -> "dict[str, np.ndarray]":
    import numpy as np

    cuts = np.round(np.cumsum(fractions) * rows).astype(np.int64)
    starts = np.concatenate([[0], cuts[:-1]])
    return {role: np.arange(starts[place], cuts[place], dtype=np.int64) for place, role in enumerate(ordered)}


def _groups(params: DataSplitParams, source: _Source) -> "tuple[np.ndarray, np.ndarray]":
    """Number the groups of one source 0…, and give each the hash of its content."""
    import numpy as np

    from titrant.runtime.data.content import row_hashes

    if params.by == "row":
        keys, group = np.unique(source.contents, return_inverse=True)
        return group.astype(np.int64), keys
    _, first, group = np.unique(source.units, return_index=True, return_inverse=True)
    return group.astype(np.int64), row_hashes({params.by: source.table.columns[params.by][first]})


def _classes(params: DataSplitParams, table: "Table", name: str) -> "tuple[np.ndarray, tuple[str, ...]]":
    """Class numbers by row and their names; one class without a name where nothing is stratified."""
    import numpy as np

    from titrant.runtime.data.columns import find, value_text

    if not params.stratify or params.label is None:
        return np.zeros(table.rows, dtype=np.int64), ()
    label = find(table.columns, params.label, source_words(name), "data.label")
    if label.ndim != 1:
        return np.zeros(table.rows, dtype=np.int64), ()
    values, numbers = np.unique(label, return_inverse=True)
    written = [value_text(value) for value in values.tolist()]
    return numbers.astype(np.int64), tuple(table.label_names.get(text, text) for text in written)


def _check_classes(classes: "np.ndarray", names: tuple[str, ...], ordered: list[str], what: str) -> None:
    import numpy as np

    held = np.bincount(classes, minlength=len(names))
    few = [f"{names[place]} has {held[place]}" for place in np.flatnonzero(held < len(ordered))]
    if few:
        more = f" and {len(few) - 3} more classes have too few" if len(few) > 3 else ""
        kept = "distinct rows" if what == "row" else f"values of {what}"
        raise PreconditionError(
            Diagnostic(
                "X110",
                f"class {', '.join(few[:3])} {kept}{more}, for {len(ordered)} roles",
                help="join rare classes, leave roles out, or set `split.stratify: false`; "
                "for a regression target stratify cannot work",
            )
        )


def _notes(params: DataSplitParams, source: _Source, group: "np.ndarray", unused: int) -> list[str]:
    said, rows = [], source.table.rows
    copies = rows - int(group.max(initial=-1) + 1)
    if params.by == "row" and copies:
        said.append(
            f"{copies} of {rows} rows of {source_words(source.name)} repeat another row's inputs and stay with it"
        )
    if unused:
        said.append(f"{unused} rows of {source_words(source.name)} have no role")
    return said


def _copies(kept: "Mapping[str, Mapping[str, np.ndarray]]", contents: "Mapping[str, np.ndarray]") -> list[str]:
    """Count judging rows with the inputs of a train row, which `by` another unit than the row cannot keep together."""
    import numpy as np

    seen = [contents[name][rows] for name, rows in kept["train"].items()]
    judged = [contents[name][rows] for name, rows in kept["evaluation"].items()]
    if not seen or not judged:
        return []
    count = int(np.isin(np.concatenate(judged), np.concatenate(seen)).sum())
    return [f"{count} rows of evaluation have the same inputs as a row of train"] if count else []


def _check_not_empty(params: DataSplitParams, kept: "Mapping[str, Mapping[str, np.ndarray]]") -> None:
    for role, sources in params.roles.items():
        if any(sources.values()) and not sum(len(rows) for rows in kept[role].values()):
            raise PreconditionError(
                Diagnostic("X110", f"{role} has no rows", help="give it a larger fraction, or leave the role out")
            )


def settle_overlap(
    params: DataSplitParams,
    roles: "Mapping[str, Mapping[str, np.ndarray]]",
    contents: "Mapping[str, np.ndarray]",
    units: "Mapping[str, np.ndarray]",
) -> "tuple[dict[str, dict[str, np.ndarray]], list[str], int]":
    """Compare the rows of roles that draw from different sources, and their units where a column keeps rows together.

    Returns the rows that are kept, notes, and how many were dropped. Raises PreconditionError X111 with the counts
    where `overlap` is error.
    """
    import numpy as np

    kept = {role: dict(sources) for role, sources in roles.items()}
    identities = [("inputs", contents)] + ([(params.by, units)] if params.by not in ("row", "order") else [])
    shared: dict[tuple[str, str, str], int] = {}
    for what, identity in identities:
        for (owner, judged), (role, other) in _pairs(kept):
            own = identity[other][kept[role][other]]
            copies = np.isin(own, identity[judged][kept[owner][judged]])
            if copies.any():
                shared[what, f"{role} ({other})", f"{owner} ({judged})"] = int(copies.sum())
                kept[role][other] = kept[role][other][~copies]
    if shared and params.overlap == "error":
        raise PreconditionError(_overlap(shared))
    notes = [
        f"{count} rows of {role} dropped: the same {what} as in {owner}"
        for (what, role, owner), count in shared.items()
    ]
    return kept, notes, sum(shared.values())


def _pairs(roles: "Mapping[str, Mapping[str, np.ndarray]]") -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """List every (role, source) with those of lower precedence in another role and another source."""
    shares = [(role, name) for role in PRECEDENCE for name in roles.get(role, {})]
    for place, first in enumerate(shares):
        yield from ((first, other) for other in shares[place + 1 :] if other[0] != first[0] and other[1] != first[1])


def _overlap(shared: Mapping[tuple[str, str, str], int]) -> Diagnostic:
    message = "; ".join(
        f"{count} rows of {role} have the same {what} as rows of {owner}"
        for (what, role, owner), count in shared.items()
    )
    return Diagnostic(
        "X111",
        message,
        help="`split: {overlap: drop}` leaves them in the role that judges (evaluation before tuning, …)",
    )

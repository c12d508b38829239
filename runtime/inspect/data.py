"""Describe the data as loaded, split and transformed by the very steps of the plan: rows, units, classes, seconds.

A unit is what gates count: a patient's images are one. The seconds predict the steps that will do the same.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime import catalog
from titrant.runtime.catalog import load as load_libraries
from titrant.runtime.data.classes import places
from titrant.runtime.data.columns import is_ragged, is_text, missing
from titrant.runtime.inspect.shift import shift_note, shifts
from titrant.runtime.inspect.suspects import label_leaks, rows_of, stand_ins
from titrant.runtime.inspect.transforms import describe_transforms, pixel_notes, text_notes, unlisted
from titrant.runtime.operators.data.load import load
from titrant.runtime.operators.data.split import split
from titrant.runtime.operators.data.transform import class_notes, classes_of, transform
from titrant.runtime.operators.data.unlabeled import UNLABELED, unlabeled
from titrant.runtime.values import Rows, RowSplit, Tables, Transforms
from titrant.schema.facts import Column, DataFacts, InputPart, LabelLeak, RoleFacts, TensorSpec

if TYPE_CHECKING:
    from titrant.runtime.operators.data.load import DataLoadParams
    from titrant.runtime.operators.data.split import DataSplitParams
    from titrant.runtime.operators.data.transform import DataTransformParams
    from titrant.runtime.operators.data.unlabeled import DataUnlabeledParams

UnitCounts = dict[str, dict[str, int]]


def describe_data(
    loading: "DataLoadParams",
    splitting: "DataSplitParams",
    transforming: "DataTransformParams",
    *,
    seed: int,
    settle: "Callable[[DataTransformParams, Tables], DataTransformParams] | None" = None,
    unlabeling: "DataUnlabeledParams | None" = None,
    loaded: "tuple[Tables, float] | None" = None,
) -> tuple[DataFacts, dict[str, Rows]]:
    """Load, split and transform; returns the facts, and the rows for a look at the first of them.

    `settle` is asked, once the data are there, what they are made into. Rows without labels are a role of their own.
    `loaded` are the data where they are there already, and the seconds that loading them took.
    """
    for name, params in (("data.load", loading), ("data.split", splitting), ("data.transform", transforming)):
        load_libraries(catalog.get(name).loads(params))
    watch = Stopwatch()
    if loaded is None:
        with watch.timing("load"):
            tables = load(loading, seed=seed)
    else:
        tables, watch.seconds["load"] = loaded[0], round(loaded[1], 4)
    with watch.timing("split"):
        parts = split(splitting, tables, seed=seed)
    if settle is not None:
        transforming = settle(transforming, tables)
    with watch.timing("transform"):
        rows, transforms = transform(transforming, tables, parts)
    more: dict[str, Rows] = {}
    noted: list[str] = []
    if unlabeling is not None:
        with watch.timing(UNLABELED):
            more[UNLABELED], named, _ = unlabeled(unlabeling, tables, parts, transforms, rows["tuning"], seed=seed)
            single = Tables({UNLABELED: named.sources[UNLABELED]})
            unknown = unlisted(transforms, single).items()
            noted = [
                *_notes(single),
                *(f"{name} of {count:,} rows has a value that one_hot has no input for" for name, count in unknown),
                *_ungrouped(more),
            ]
            noted = [f"data.unlabeled: {note}" for note in noted]
    shown = next((part for part in rows.values() if len(part)), rows["train"])
    scalars = {spec.name for spec in transforming.model_inputs if not spec.shape}
    facts = DataFacts(
        digest=digest_tables(tables),
        rows=sum(table.rows for table in tables.sources.values()),
        columns=_columns(tables),
        classes=transforms.classes,
        positive=None if transforms.positive is None else transforms.classes[transforms.positive],
        inputs=tuple(
            TensorSpec(name, () if name in scalars else ("batch", *array.shape[1:]), str(array.dtype))
            for name, array in shown.inputs.items()
        ),
        roles={role: role_facts(part) for role, part in (rows | more).items() if len(part)},
        notes=(
            *_notes(tables),
            *noted,
            *parts.notes,
            *class_notes(transforming, tables),
            *text_notes(transforms, rows, tables, parts),
            *pixel_notes(transforms, tables),
            *_indicated(transforms),
            *_ungrouped(rows),
            *_shifted(rows, transforms),
        ),
        seconds=watch.seconds,
        wiring=tuple(InputPart(item.name, item.part, item.value) for item in transforming.wiring),
        leaks=_leaks(tables, parts, rows, transforms.inputs),
        stand_ins=stand_ins(tables, [name for name in (transforming.label, transforming.by) if name is not None]),
        indicators=tuple(name for step in transforms.steps for name in step.params.get("indicator", ())),
        transforms=describe_transforms(transforming, transforms, rows, tables),
    )
    return facts, rows


# So many inputs are named in a note.
_NAMED = 6
# Rows that judge say nothing about a column.
_LOOKED_AT = ("train", "tuning")


def _leaks(
    tables: Tables, parts: RowSplit, rows: Mapping[str, Rows], inputs: Mapping[str, tuple[str, ...]]
) -> tuple[LabelLeak, ...]:
    """Ask each raw column whether it gives the label away alone, on the rows that fit and choose."""
    labels = [labels for role in _LOOKED_AT if (labels := rows[role].labels) is not None]
    if not labels:
        return ()
    roles = [parts.roles.get(role, {}) for role in _LOOKED_AT]
    names = dict.fromkeys(name for columns in inputs.values() for name in columns)
    columns = {name: column for name in names if (column := rows_of(tables, roles, name)) is not None}
    return label_leaks(columns, np.concatenate(labels))


def with_places(data: DataFacts, params: "DataTransformParams", tables: Tables, outputs: int) -> DataFacts:
    """Return the facts with a class for each of a model's `outputs`, where these are more than the label has values.

    Nothing changes where the recipe states the classes, or where the label's values are no places among the outputs.
    """
    classes = classes_of(params, tables)
    if params.task != "multiclass_classification" or params.classes or classes is None:
        return data
    values = places(classes, outputs)
    if not values:
        return data
    named = dict(zip(classes.values, classes.names, strict=True))
    names = tuple(named.get(value, value) for value in values)
    stated = params.model_copy(update={"classes": values})
    notes = [note for note in data.notes if note not in classes.notes]
    roles = {role: _of_classes(facts, names) for role, facts in data.roles.items()}
    return replace(data, classes=names, class_values=values, roles=roles, notes=(*notes, *class_notes(stated, tables)))


def _of_classes(facts: RoleFacts, names: tuple[str, ...]) -> RoleFacts:
    """Return a role's facts with every class in its place; of one that no row shows all units are others."""
    in_units = bool(facts.class_units)
    return replace(
        facts,
        classes={name: facts.classes.get(name, 0) for name in names},
        class_units={name: facts.class_units.get(name, 0) for name in names} if in_units else {},
        other_units={name: facts.other_units.get(name, facts.units) for name in names} if in_units else {},
    )


def role_facts(rows: Rows) -> RoleFacts:
    """Count a role's rows, units, classes, subgroups and positives."""
    labels = rows.labels
    positive = np.zeros(len(rows), bool)
    if rows.positive is not None and labels is not None:
        positive = labels == rows.positive
    elif rows.positive is not None and rows.targets is not None:
        positive = rows.targets[:, rows.positive] == 1
    counts = {} if labels is None else dict(zip(rows.classes, _counts(labels, len(rows.classes)), strict=True))
    if labels is None and rows.targets is not None and rows.classes:
        counts = dict(zip(rows.classes, rows_with(rows), strict=True))
    subgroups, positives = {}, {}
    for name, numbers in rows.subgroups.items():
        values = rows.subgroup_values[name]
        subgroups[name] = dict(zip(values, _counts(numbers, len(values)), strict=True))
        if rows.positive is not None:
            positives[name] = dict(zip(values, _counts(numbers[positive], len(values)), strict=True))
    units = len(np.unique(rows.units))
    facts = RoleFacts(len(rows), units, counts, subgroups, positives)
    if labels is None and counts and rows.targets is not None and rows.targets.ndim == 2:
        return replace(facts, **_label_units(rows))
    return facts if units == len(rows) else in_units(facts, rows, positive)


def _label_units(rows: Rows) -> dict[str, Any]:
    """Count the units with and without each of several labels, and those of each subgroup."""
    assert rows.targets is not None
    has = rows.targets == 1
    return {
        "class_units": {name: _units(rows, has[:, place]) for place, name in enumerate(rows.classes)},
        "other_units": {name: _units(rows, ~has[:, place]) for place, name in enumerate(rows.classes)},
        "subgroup_units": _by_subgroup(rows, np.ones(len(rows), bool)),
    }


def rows_with(rows: Rows) -> list[int]:
    """Count the rows that show each class, of masks and of boxes, or that have each label."""
    assert rows.targets is not None  # there are classes
    if rows.targets.ndim == 2:
        return [int(count) for count in rows.targets.sum(axis=0)]
    if rows.targets.dtype.kind == "i":
        return [int((rows.targets == place).any(axis=(1, 2)).sum()) for place in range(len(rows.classes))]
    return [int((rows.targets[..., -1] == place).any(axis=1).sum()) for place in range(len(rows.classes))]


def in_units(facts: RoleFacts, rows: Rows, positive: np.ndarray) -> RoleFacts:
    """Add the counts of units to a role's facts; `positive` says which rows are of the positive class, (rows,) bool."""
    classes, others = {}, {}
    if rows.labels is not None:
        for index, name in enumerate(rows.classes):
            classes[name] = _units(rows, rows.labels == index)
            others[name] = _units(rows, rows.labels != index)
    named = rows.positive is not None
    return replace(
        facts,
        class_units=classes,
        other_units=others,
        subgroup_units=_by_subgroup(rows, np.ones(len(rows), bool)),
        positive_units=_by_subgroup(rows, positive) if named else {},
        negative_units=_by_subgroup(rows, ~positive) if named else {},
    )


def _by_subgroup(rows: Rows, among: np.ndarray) -> UnitCounts:
    return {
        name: {
            value: _units(rows, among & (numbers == index)) for index, value in enumerate(rows.subgroup_values[name])
        }
        for name, numbers in rows.subgroups.items()
    }


def _units(rows: Rows, chosen: np.ndarray) -> int:
    return len(np.unique(rows.units[chosen]))


def _counts(numbers: np.ndarray, size: int) -> list[int]:
    counts: list[int] = np.bincount(numbers[numbers >= 0], minlength=size).tolist()
    return counts


def digest_tables(tables: Tables) -> str:
    """Digest the content of every source with BLAKE3: names, dtypes, shapes and bytes, columns sorted by name."""
    from blake3 import blake3

    hasher = blake3()
    for source in sorted(tables.sources):
        table = tables.sources[source]
        for name in sorted(table.columns):
            column = table.columns[name]
            for array in _arrays(column):
                hasher.update(f"{source}\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
                hasher.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        hasher.update(repr(sorted(table.label_names.items())).encode())
    return hasher.hexdigest()


def _arrays(column: np.ndarray) -> Iterator[np.ndarray]:
    if is_ragged(column):
        yield from column
    else:
        yield column


def _columns(tables: Tables) -> tuple[Column, ...]:
    """Describe each column over all sources that have it."""
    parts_by_name: dict[str, list[np.ndarray]] = {}
    for table in tables.sources.values():
        for name, column in table.columns.items():
            parts_by_name.setdefault(name, []).append(column)
    return tuple(_column(name, parts) for name, parts in parts_by_name.items())


def _column(name: str, parts: list[np.ndarray]) -> Column:
    first = parts[0]
    if is_ragged(first):
        return Column(name, "float32", first[0].shape[:1])
    single = first.ndim == 1
    distinct = len(set().union(*(np.unique(part[~missing(part)]).tolist() for part in parts))) if single else None
    gone = sum(int(missing(part).sum()) for part in parts)
    return Column(name, "text" if is_text(first) else str(first.dtype), first.shape[1:], gone, distinct)


def _notes(tables: Tables) -> list[str]:
    return [note for table in tables.sources.values() for note in table.notes]


def _indicated(transforms: Transforms) -> list[str]:
    """Name the inputs that say where `impute` filled a gap."""
    names = [f"{name}_missing" for step in transforms.steps for name in step.params.get("indicator", ())]
    if not names:
        return []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    said = "1 input says" if len(names) == 1 else f"{len(names)} inputs say"
    return [f"{said} where a gap was filled, each behind its column: {', '.join(names[:_NAMED])}{more}"]


def _shifted(rows: Mapping[str, Rows], transforms: Transforms) -> list[str]:
    """Say in what calibration rows differ from those that choose and judge; their labels are not looked at."""
    others = [rows[role] for role in ("tuning", "evaluation") if role in rows and len(rows[role])]
    calibration = rows.get("calibration")
    if calibration is None or not len(calibration) or not others:
        return []
    note = shift_note(shifts(calibration, others, transforms.inputs))
    return [note] if note else []


def _ungrouped(rows: Mapping[str, Rows]) -> list[str]:
    """Count rows that belong to no value of a subgroup, and so to none of its gates."""
    notes = []
    names = list(next(iter(rows.values())).subgroups)
    for name in names:
        count = sum(int((part.subgroups[name] < 0).sum()) for part in rows.values())
        if count:
            notes.append(f"{count} rows belong to no value of subgroup {name}")
    return notes


class Stopwatch:
    """Keeps the seconds of each part that was timed, to a tenth of a millisecond."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Time a block."""
        begun = time.perf_counter()
        yield
        self.seconds[part] = round(time.perf_counter() - begun, 4)

"""Make each role's model-ready rows from the sources and the split."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from titrant.runtime.data.columns import find
from titrant.runtime.data.content import row_hashes
from titrant.runtime.data.labels import Classes, find_classes, positive_class
from titrant.runtime.data.selection import input_names
from titrant.runtime.data.splitting import ROLES
from titrant.runtime.data.subgroups import assign, subgroup_values
from titrant.runtime.data.transforms import apply, fit
from titrant.runtime.data.wiring import check_shapes, wire
from titrant.runtime.values import Rows, Split, Tables, Transforms
from titrant.schema.diagnostics import Diagnostic, PreconditionError, StepError

if TYPE_CHECKING:
    from titrant.runtime.operators.data_transform import DataTransformParams

# The roles that transforms may be fitted on, in this order.
FITTED_ON = ("train", "calibration")


def transform(params: "DataTransformParams", tables: Tables, split: Split) -> tuple[dict[str, Rows], Transforms]:
    """Fit on train rows (calibration rows without any), apply to every role; returns role → rows, and the transforms."""
    names = input_names(params, next(iter(tables.sources.values())))
    classes = _classes(params, tables)
    positive = None if classes is None else positive_class(classes, params.positive)
    transforms = _fit(params, names, tables, split, classes, positive)
    groups = {
        name: subgroup_values(
            name, group, [find(table.columns, group.column, "the data", "data.subgroups") for table in tables.sources.values()]
        )
        for name, group in params.subgroups.items()
    }
    rows = {role: _rows(params, role, names, tables, split, transforms, classes, groups) for role in ROLES}
    return rows, transforms


def class_notes(params: "DataTransformParams", tables: Tables) -> tuple[str, ...]:
    """Return what a person should know of how the label was read."""
    classes = _classes(params, tables)
    return () if classes is None else classes.notes


def _classes(params: "DataTransformParams", tables: Tables) -> Classes | None:
    if params.label is None:
        return None
    labels = [find(table.columns, params.label, "the data", "data.label") for table in tables.sources.values()]
    names: dict[str, str] = {}
    for table in tables.sources.values():
        names |= table.label_names
    return find_classes(labels, names, params.label)


def _fit(
    params: "DataTransformParams",
    names: tuple[str, ...],
    tables: Tables,
    split: Split,
    classes: Classes | None,
    positive: int | None,
) -> Transforms:
    role = next((role for role in FITTED_ON if _count(split, role)), None)
    if role is None and any(step.name in ("standardize", "impute", "one_hot") for step in params.transforms):
        raise PreconditionError(
            Diagnostic("X127", "there are no train or calibration rows to fit the transforms on", help="give either some rows")
        )
    fitting = role or next(role for role in reversed(ROLES) if _count(split, role))
    columns = gather(tables, split, fitting, names)
    steps = fit(params.transforms, columns)
    # Shapes are those after resizing; wiring only asks which columns hold one number a row.
    inputs, dtypes = wire(columns, params.model_inputs)
    return Transforms(steps, inputs, dtypes, classes.names if classes else (), positive)


def gather(tables: Tables, split: Split, role: str, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Collect the raw columns of a role's rows over its sources, in the order of sources and rows."""
    columns = {}
    for name in names:
        parts = [
            find(tables.sources[source].columns, name, f"source {source}", "data.inputs")[rows]
            for source, rows in split.roles.get(role, {}).items()
        ]
        columns[name] = _joined(parts, name) if parts else next(iter(tables.sources.values())).columns[name][:0]
    return columns


def _joined(parts: list[np.ndarray], name: str) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1 or len({part.dtype.kind == "U" for part in parts}) > 1:
        raise StepError(
            Diagnostic("X102", f"{name} differs between sources: {', '.join(map(str, shapes))}", help="make them alike")
        )
    return np.concatenate(parts)


def _rows(
    params: "DataTransformParams",
    role: str,
    names: tuple[str, ...],
    tables: Tables,
    split: Split,
    transforms: Transforms,
    classes: Classes | None,
    groups: Mapping[str, tuple[str, ...]],
) -> Rows:
    columns = gather(tables, split, role, names)
    inputs = apply(transforms, columns)
    if len(next(iter(inputs.values()))):
        check_shapes(inputs, params.model_inputs)
    labels = None
    if classes is not None and params.label is not None:
        labels = classes.numbers(gather(tables, split, role, (params.label,))[params.label])
    sources = split.roles.get(role, {})
    units = [split.units[source][rows] for source, rows in sources.items()]
    return Rows(
        role=role,
        inputs=inputs,
        labels=labels,
        units=np.concatenate(units) if units else np.empty(0, dtype=np.int64),
        ids=row_hashes(columns),
        classes=transforms.classes,
        positive=transforms.positive,
        subgroups={
            name: assign(group, groups[name], gather(tables, split, role, (group.column,))[group.column])
            for name, group in params.subgroups.items()
        },
        subgroup_values=groups,
    )


def _count(split: Split, role: str) -> int:
    return sum(len(rows) for rows in split.roles.get(role, {}).values())

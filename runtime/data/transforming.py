"""Make each role's model-ready rows from the sources and the split."""

from collections.abc import Mapping
from dataclasses import dataclass
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
_LEARNING = ("standardize", "impute", "one_hot")


@dataclass(frozen=True)
class _Data:
    """What the rows are made from."""

    params: "DataTransformParams"
    tables: Tables
    split: Split

    def everywhere(self, name: str, what: str) -> list[np.ndarray]:
        """Return a column of every source; `what` is the recipe key that names it."""
        return [find(table.columns, name, "the data", what) for table in self.tables.sources.values()]

    def of(self, role: str, name: str) -> np.ndarray:
        """Return a raw column of a role's rows, in the order of sources and rows."""
        sources = self.split.roles.get(role, {})
        parts = [
            find(self.tables.sources[source].columns, name, f"source {source}", "data.inputs")[rows]
            for source, rows in sources.items()
        ]
        return _joined(parts, name) if parts else next(iter(self.tables.sources.values())).columns[name][:0]

    def count(self, role: str) -> int:
        """Count a role's rows."""
        return sum(len(rows) for rows in self.split.roles.get(role, {}).values())


def transform(params: "DataTransformParams", tables: Tables, split: Split) -> tuple[dict[str, Rows], Transforms]:
    """Fit on train rows (calibration rows without any) and apply to every role.

    Returns role → rows, and the transforms.
    """
    data = _Data(params, tables, split)
    names = input_names(params, next(iter(tables.sources.values())))
    classes = _classes(data)
    groups = {
        name: subgroup_values(name, group, data.everywhere(group.column, f"data.subgroups.{name}"))
        for name, group in params.subgroups.items()
    }
    transforms = _fit(data, names, classes)
    return {role: _rows(data, role, transforms, classes, groups) for role in ROLES}, transforms


def class_notes(params: "DataTransformParams", tables: Tables) -> tuple[str, ...]:
    """Return what a person should know of how the label was read."""
    classes = _classes(_Data(params, tables, Split({}, {})))
    return () if classes is None else classes.notes


def _classes(data: _Data) -> Classes | None:
    label = data.params.label
    if label is None:
        return None
    names: dict[str, str] = {}
    for table in data.tables.sources.values():
        names |= table.label_names
    return find_classes(data.everywhere(label, "data.label"), names, label)


def _fit(data: _Data, names: tuple[str, ...], classes: Classes | None) -> Transforms:
    params = data.params
    role = next((role for role in FITTED_ON if data.count(role)), None)
    if role is None and any(step.name in _LEARNING for step in params.transforms):
        raise PreconditionError(
            Diagnostic(
                "X127", "there are no train or calibration rows to fit transforms on", help="give either some rows"
            )
        )
    fitting = role or next(role for role in reversed(ROLES) if data.count(role))
    columns = {name: data.of(fitting, name) for name in names}
    steps = fit(params.transforms, columns)
    inputs, dtypes = wire(columns, params.model_inputs)
    positive = None if classes is None else positive_class(classes, params.positive)
    return Transforms(steps, inputs, dtypes, classes.names if classes else (), positive)


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
    data: _Data,
    role: str,
    transforms: Transforms,
    classes: Classes | None,
    groups: Mapping[str, tuple[str, ...]],
) -> Rows:
    params, sources = data.params, data.split.roles.get(role, {})
    columns = {name: data.of(role, name) for names in transforms.inputs.values() for name in names}
    inputs = apply(transforms, columns)
    if data.count(role):
        check_shapes(inputs, params.model_inputs)
    units = [data.split.units[source][rows] for source, rows in sources.items()]
    return Rows(
        role=role,
        inputs=inputs,
        labels=None if classes is None or params.label is None else classes.numbers(data.of(role, params.label)),
        units=np.concatenate(units) if units else np.empty(0, dtype=np.int64),
        ids=row_hashes(columns),
        classes=transforms.classes,
        positive=transforms.positive,
        subgroups={
            name: assign(group, groups[name], data.of(role, group.column)) for name, group in params.subgroups.items()
        },
        subgroup_values=groups,
    )

"""Count units (a patient's images are one) beside rows, as gates do."""

from dataclasses import replace

import numpy as np

from titrant.runtime.values import Rows
from titrant.schema.facts import RoleFacts

Counts = dict[str, dict[str, int]]


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


def _by_subgroup(rows: Rows, among: np.ndarray) -> Counts:
    return {
        name: {
            value: _units(rows, among & (numbers == index)) for index, value in enumerate(rows.subgroup_values[name])
        }
        for name, numbers in rows.subgroups.items()
    }


def _units(rows: Rows, chosen: np.ndarray) -> int:
    return len(np.unique(rows.units[chosen]))

"""Which cases a gate is about."""

import numpy as np

from titrant.runtime.values import Rows
from titrant.schema.gate import Gate


def cases_of(gate: Gate, rows: Rows) -> np.ndarray:
    """Return the cases of a gate's slice, (rows,) bool; KeyError, naming it, for a slice that the rows do not have."""
    return _part(gate.slice, rows)


def pair_of(gate: Gate, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return the cases of both groups of a pair slice, "subgroup G.a / G.b"."""
    for group, values in rows.subgroup_values.items():
        for first in values:
            for second in values:
                if gate.slice == f"subgroup {group}.{first} / {group}.{second}":
                    codes = rows.subgroups[group]
                    return codes == values.index(first), codes == values.index(second)
    raise KeyError(gate.slice)


def positive_of(gate: Gate, rows: Rows) -> int | None:
    """Return the class that sensitivity and its like are about: the slice's class, else the recipe's positive."""
    if gate.slice.startswith("class "):
        return rows.classes.index(gate.slice.removeprefix("class "))
    return rows.positive


def _part(name: str, rows: Rows) -> np.ndarray:
    if name == "all":
        return np.ones(len(rows), bool)
    kind, _, rest = name.partition(" ")
    if kind == "class" and rows.labels is not None and rest in rows.classes:
        chosen: np.ndarray = rows.labels == rows.classes.index(rest)
        return chosen
    for group, values in rows.subgroup_values.items():
        for index, value in enumerate(values):
            if kind == "subgroup" and rest == f"{group}.{value}":
                inside: np.ndarray = rows.subgroups[group] == index
                return inside
    raise KeyError(name)

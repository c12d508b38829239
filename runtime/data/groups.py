"""Assign rows to subgroups, and deal groups of rows to roles so that every class falls near to the fractions."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from titrant.runtime.data.columns import missing, value_text
from titrant.runtime.data.content import mix
from titrant.runtime.data.parameters import SubgroupColumn
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.recipe.data import STRATA

# A subgroup that lists no values has one a value of its column, each with gates of its own.
MOST_VALUES = 20


def subgroup_values(name: str, group: SubgroupColumn, columns: Sequence[np.ndarray]) -> tuple[str, ...]:
    """List a subgroup's values in order: bins from low to high, labels as written, or else every value found.

    `columns` are the column of every source. Raises RecipeError X125 when bins or values do not fit it.
    """
    if any(column.ndim != 1 for column in columns):
        raise _misfit(name, f"{group.column} is an array", "a subgroup is told from a column of single values")
    if group.bins is not None:
        return _bin_labels(name, group, columns)
    present = {value_text(value) for column in columns for value in np.unique(column[~missing(column)]).tolist()}
    if group.values is None:
        if len(present) > MOST_VALUES:
            message = (
                f"{group.column} has {len(present):,} values, and a subgroup without `values` has {MOST_VALUES} at most"
            )
            cut = "add `bins: [low, high]`, or list" if all(c.dtype.kind in "iuf" for c in columns) else "list"
            raise _misfit(name, message, f"{cut} the values to judge apart: `values: [one, other]`")
        return tuple(sorted(present))
    labels = _labelled(group)
    absent = [value for values in labels.values() for value in values if value not in present]
    if absent:
        there = ", ".join(sorted(present)[:8]) + (" …" if len(present) > 8 else "")
        raise _misfit(name, f"{group.column} has no value {absent[0]}", f"it has {there}")
    return tuple(labels)


def assign(group: SubgroupColumn, values: Sequence[str], column: np.ndarray) -> np.ndarray:
    """Return each row's index (rows,) int64 into `values`, -1 for a row that belongs to none."""
    gone = missing(column)
    if group.bins is not None:
        placed = np.searchsorted(np.asarray(group.bins), column.astype(np.float64), side="right")
        return np.where(gone, -1, placed).astype(np.int64)
    place = {value: number for number, value in enumerate(values)}
    if group.values is not None:
        place = {value: place[label] for label, several in _labelled(group).items() for value in several}
    distinct, index = np.unique(column, return_inverse=True)
    numbers = np.array([place.get(value_text(value), -1) for value in distinct.tolist()], dtype=np.int64)
    return np.where(gone, -1, numbers[index]).astype(np.int64)


def _labelled(group: SubgroupColumn) -> Mapping[str, tuple[str, ...]]:
    """Read `values` as label → the values that it stands for, all as text."""
    if isinstance(group.values, list):
        return {value_text(value): (value_text(value),) for value in group.values}
    return {
        label: tuple(value_text(value) for value in (several if isinstance(several, list) else [several]))
        for label, several in (group.values or {}).items()
    }


def _bin_labels(name: str, group: SubgroupColumn, columns: Sequence[np.ndarray]) -> tuple[str, ...]:
    cuts = group.bins or ()
    if list(cuts) != sorted(set(cuts)):
        raise _misfit(
            name, f"the cut points {', '.join(f'{cut:g}' for cut in cuts)} do not rise", "write each once, rising"
        )
    if any(column.dtype.kind not in "iuf" for column in columns):
        raise _misfit(name, f"{group.column} is not a column of numbers", "use `values` for text")
    low, high = f"{group.column} < {cuts[0]:g}", f"≥ {cuts[-1]:g}"
    return (low, *(f"{a:g} to {b:g}" for a, b in itertools.pairwise(cuts)), high)


def _misfit(name: str, message: str, help: str) -> RecipeError:
    return RecipeError(
        Diagnostic("X125", message, help=help, key=f"data.{name}" if name == STRATA else f"data.subgroups.{name}")
    )


@dataclass(frozen=True)
class Groups:
    """Rows that stay together: per group its sort key, and its rows by class in compressed rows.

    `starts` (groups + 1,) cuts `classes` and `counts`, which list the classes of each group and how often each stands
    in it, classes rising.
    """

    keys: np.ndarray
    starts: np.ndarray
    classes: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each group (groups,)."""
        return np.add.reduceat(self.counts, self.starts[:-1])


def group_rows(group: np.ndarray, classes: np.ndarray, keys: np.ndarray) -> Groups:
    """Gather rows into groups; `group` (rows,) numbers them 0…, `keys` (groups,) are their sort keys."""
    width = np.int64(classes.max(initial=0) + 1)
    pairs, counts = np.unique(group * width + classes, return_counts=True)
    starts = np.searchsorted(pairs, np.arange(len(keys) + 1) * width)
    return Groups(keys, starts, pairs % width, counts)


def apportion(groups: Groups, fractions: np.ndarray, classes: int) -> np.ndarray:
    """Return the role (groups,) of each group.

    Groups of one composition (so many rows of each class) are dealt in the order of their keys, by what each role
    still lacks; what is left over after whole shares goes, one group at a time, to the role that lacks most. Larger
    groups go first, so that single rows can even out what they could not.
    """
    total = np.bincount(groups.classes, weights=groups.counts, minlength=classes)
    remaining: np.ndarray = fractions[:, None] * total[None, :]
    roles = np.empty(len(groups), dtype=np.int64)
    for members in _by_composition(groups):
        first = int(members[0])
        entries = slice(groups.starts[first], groups.starts[first + 1])
        composition = np.zeros(classes)
        composition[groups.classes[entries]] = groups.counts[entries]
        shares = _shares(len(members), remaining, composition, fractions)
        remaining = remaining - shares[:, None] * composition[None, :]
        ordered = members[np.argsort(groups.keys[members], kind="stable")]
        roles[ordered] = np.repeat(np.arange(len(fractions)), shares)
    return roles


def _shares(members: int, remaining: np.ndarray, composition: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Whole numbers of groups for each role, adding up to `members`."""
    norm = float(composition @ composition)
    need = np.maximum(remaining @ composition / norm, 0)
    if need.sum() <= 0:
        need = fractions.copy()
    exact = need * members / need.sum()
    shares: np.ndarray = np.floor(exact + 1e-9).astype(np.int64)
    rest = np.round(exact - shares, 9)
    lacks = np.round((remaining - shares[:, None] * composition[None, :]).sum(axis=1), 9)
    # By remainder; among equal remainders by what the role lacks over all classes; then in the order of the roles.
    order = np.lexsort((np.arange(len(shares)), -lacks, -rest))
    shares[order[: members - int(shares.sum())]] += 1
    return shares


def _by_composition(groups: Groups) -> list[np.ndarray]:
    """Group numbers by composition, those of many rows first; an order that depends on content only."""
    part = mix(groups.classes.astype(np.uint64) * np.uint64(0x1000003) + groups.counts.astype(np.uint64))
    signature = np.add.reduceat(part, groups.starts[:-1])
    _, first, inverse = np.unique(signature, return_index=True, return_inverse=True)
    members = np.argsort(inverse, kind="stable")
    cuts = np.searchsorted(inverse[members], np.arange(1, len(first)))
    sizes, signatures = groups.sizes[first], signature[first]
    listed = np.split(members, cuts)
    return [listed[place] for place in np.lexsort((signatures, -sizes))]


def ensure_every_role(groups: Groups, roles: np.ndarray, fractions: np.ndarray, classes: int) -> np.ndarray:
    """Move single-class groups so that every role with a fraction has some rows of every class."""
    roles = roles.copy()
    single = np.flatnonzero(np.diff(groups.starts) == 1)
    owner = np.repeat(np.arange(len(groups)), np.diff(groups.starts))
    served = np.flatnonzero(fractions > 0)
    held = np.zeros((len(fractions), classes))
    np.add.at(held, (roles[owner], groups.classes), groups.counts)
    for role, klass in np.argwhere(held[served] == 0):
        target = served[role]
        of_class = single[groups.classes[groups.starts[single]] == klass]
        donors = [int(donor) for donor in served if (roles[of_class] == donor).sum() >= 2]
        if not donors:
            continue
        donor = max(donors, key=lambda candidate: (held[candidate, klass], -candidate))
        given = of_class[roles[of_class] == donor]
        moved = given[np.lexsort((groups.keys[given], groups.sizes[given]))[0]]
        count = int(groups.counts[groups.starts[moved]])
        roles[moved] = target
        held[donor, klass] -= count
        held[target, klass] += count
    return roles

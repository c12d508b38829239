"""Draw how a faithful candidate answers, as counts: by class, and how these fall among the values of each subgroup."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from titrant.schema.facts import RoleFacts
from titrant.schema.gate import Gate
from titrant.schema.power import CHANGE, RIGHT
from titrant.schema.values.slice import Slice, read_slice

# What an absolute gate asks of the cases of a class, or of all.
_ABSOLUTE = ("sensitivity", "specificity", "accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class PairedCounts:
    """Paired cases of some rows in every draw, (draws,) each; `share` is how many units a row is worth, 0..1."""

    both: np.ndarray
    lost: np.ndarray
    gained: np.ndarray
    neither: np.ndarray
    share: float = 1.0

    @property
    def cases(self) -> np.ndarray:
        """All of them."""
        return self.both + self.lost + self.gained + self.neither

    @property
    def changed(self) -> np.ndarray:
        """Those on which both models differ."""
        return self.lost + self.gained

    def times(self, factor: float) -> "PairedCounts":
        """Return the same shares of so many times the cases."""
        return PairedCounts(
            self.both * factor, self.lost * factor, self.gained * factor, self.neither * factor, self.share
        )

    def plus(self, other: "PairedCounts", share: float) -> "PairedCounts":
        """Add other rows."""
        return PairedCounts(
            self.both + other.both, self.lost + other.lost, self.gained + other.gained, self.neither + other.neither,
            share,
        )  # fmt: skip


@dataclass(frozen=True)
class SampledRows:
    """The evaluation rows by class and what a candidate is assumed to do to them.

    `right` is the original's share by class. Without labels there is one class, "".
    """

    sizes: Mapping[str, int]
    facts: RoleFacts
    positive: str | None
    right: Mapping[str, float]
    tried: int = 0  # rows that are asked again in other company

    @property
    def units(self) -> float:
        """How many units a row is worth."""
        return _worth(self.facts.rows, self.facts.units)


@dataclass
class Draws:
    """PairedCounts of every class in every draw, and of subgroups as they are asked for."""

    sample: SampledRows
    count: int
    generator: np.random.Generator
    by_class: dict[str, PairedCounts] = field(default_factory=dict)
    _groups: dict[tuple[str, str], dict[str, PairedCounts]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        facts = self.sample.facts
        for name, size in self.sample.sizes.items():
            right = self.sample.right[name]
            half = min(CHANGE / 2, 1 - right)
            shares = [right - half, half, half, max(1 - right - half, 0.0)]
            drawn = self.generator.multinomial(size, np.array(shares) / sum(shares), self.count).T
            units = facts.class_units.get(name, facts.units if not name else size)
            both, lost, gained, neither = drawn
            self.by_class[name] = PairedCounts(both, lost, gained, neither, _worth(size, units))

    def all(self) -> PairedCounts:
        """Count every row."""
        return self._sum(list(self.by_class), self.sample.units)

    def of(self, name: str) -> PairedCounts:
        """Count the rows of a class."""
        return self.by_class[name]

    def rest(self, name: str) -> PairedCounts:
        """Count the rows of all other classes."""
        others = [other for other in self.by_class if other != name]
        rows, facts = sum(self.sample.sizes[other] for other in others), self.sample.facts
        return self._sum(others, _worth(rows, facts.other_units.get(name, rows)))

    def inside(self, side: Slice, kind: str) -> PairedCounts:
        """Count the rows of a subgroup: "positive", "rest" or "all" of them.

        Given how many rows of a class changed, which value of a subgroup they have is as if drawn without replacement:
        the subgroups' sizes are known, and two groups are taken to be independent of each other within a class.
        """
        facts, positive = self.sample.facts, self.sample.positive
        if kind == "all" and positive is not None and self.sample.sizes.keys() != {""}:
            units = facts.subgroup_units.get(side.group, {}).get(side.value)
            both = [self.inside(side, part) for part in ("positive", "rest")]
            rows = facts.subgroups.get(side.group, {}).get(side.value, 0)
            return both[0].plus(both[1], _worth(rows, rows if units is None else units))
        key = (side.group, kind)
        if key not in self._groups:
            self._groups[key] = self._parted(side.group, kind)
        return self._groups[key][side.value]

    def _parted(self, group: str, kind: str) -> dict[str, PairedCounts]:
        facts, positive = self.sample.facts, self.sample.positive
        rows, positives = facts.subgroups[group], facts.positives.get(group, {})
        if kind == "all":
            pool, sizes, units = self.all(), dict(rows), facts.subgroup_units.get(group, {})
        elif kind == "positive":
            pool, sizes, units = self.of(str(positive)), dict(positives), facts.positive_units.get(group, {})
        else:
            sizes = {value: count - positives.get(value, 0) for value, count in rows.items()}
            pool, units = self.rest(str(positive)), facts.negative_units.get(group, {})
        left = [part.copy() for part in (pool.both, pool.lost, pool.gained, pool.neither)]
        parted = {}
        for value in rows:
            size = sizes.get(value, 0)
            taken, open_rows = [], np.full(self.count, size)
            for place, part in enumerate(left):
                others: np.ndarray = sum(left[place + 1 :], np.zeros(self.count, np.int64))
                drawn: np.ndarray = self.generator.hypergeometric(part, others, np.minimum(open_rows, part + others))
                taken.append(drawn)
                open_rows = open_rows - drawn
            left = [part - drawn for part, drawn in zip(left, taken, strict=True)]
            both, lost, gained, neither = taken
            parted[value] = PairedCounts(both, lost, gained, neither, _worth(size, units.get(value, size)))
        return parted

    def _sum(self, names: list[str], share: float) -> PairedCounts:
        zero = np.zeros(self.count, np.int64)
        total = PairedCounts(zero, zero, zero, zero)
        for name in names:
            total = total.plus(self.by_class[name], share)
        return total


def _worth(rows: int, units: int) -> float:
    return min(units / rows, 1.0) if rows else 1.0


def sample_of(facts: RoleFacts, positive: str | None, gates: tuple[Gate, ...], tried: int) -> SampledRows:
    """Take the rows of the evaluation role, and assume of the original what the gates ask of it at least."""
    sizes = {name: count for name, count in facts.classes.items() if count} or {"": facts.rows}
    right = dict.fromkeys(sizes, RIGHT)
    for gate in gates:
        if gate.comparison != "at_least" or gate.metric not in _ABSOLUTE or gate.preset == "reference":
            continue
        asked = (1 + gate.threshold) / 2
        about = read_slice(gate.slice)
        named = about.class_name if about.kind == "class" else positive
        for name in right:
            asks = gate.metric in ("accuracy", "balanced_accuracy") or (name == named) == (gate.metric == "sensitivity")
            right[name] = max(right[name], asked) if asks else right[name]
    return SampledRows(sizes, facts, positive, right, tried)

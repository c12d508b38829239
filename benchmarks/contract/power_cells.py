"""Gates and whole contracts whose stated power is held against faithful candidates, drawn row by row and judged."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from titrant.compiler.decide.gate_cases import with_cases
from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge
from titrant.runtime.contract.power.draws import sample_of
from titrant.runtime.contract.power.simulate import joint_power
from titrant.runtime.values import Rows
from titrant.schema.facts import DataFacts, RoleFacts
from titrant.schema.gate import Gate, gate_test

CHANGE, RIGHT = 0.005, 0.9


@dataclass(frozen=True)
class Rowset:
    """Evaluation rows: how many of each class, in shares of each hospital, and rows of one unit."""

    ill: int
    well: int
    hospitals: Mapping[str, float]
    rows_a_unit: int = 1

    def facts(self) -> DataFacts:
        """Count them as inspection does."""
        rows = self.ill + self.well
        labels, hospitals, units = self.labels(), self.hospital(), np.arange(rows) // self.rows_a_unit
        names = list(self.hospitals)

        def counted(chosen: np.ndarray) -> dict[str, int]:
            return {name: int((chosen & (hospitals == place)).sum()) for place, name in enumerate(names)}

        def distinct(chosen: np.ndarray) -> int:
            return len(np.unique(units[chosen]))

        several = self.rows_a_unit > 1
        ill = labels == 1
        evaluation = RoleFacts(
            rows, distinct(labels >= 0), {"well": self.well, "ill": self.ill},
            {"hospital": counted(labels >= 0)}, {"hospital": counted(ill)},
            class_units={"well": distinct(~ill), "ill": distinct(ill)} if several else {},
        )  # fmt: skip
        return DataFacts("", rows, (), ("well", "ill"), "ill", (), {"evaluation": evaluation})

    def labels(self) -> np.ndarray:
        """Spread the ill evenly over all rows."""
        rows = self.ill + self.well
        return (
            np.floor(np.arange(1, rows + 1) * self.ill / rows) > np.floor(np.arange(rows) * self.ill / rows)
        ).astype(np.int64)

    def hospital(self) -> np.ndarray:
        """Deal the rows of each class out by the shares, as exactly as rows can be."""
        labels, out = self.labels(), np.zeros(self.ill + self.well, np.int64)
        edges = np.cumsum(list(self.hospitals.values())) / sum(self.hospitals.values())
        for label in (0, 1):
            places = np.flatnonzero(labels == label)
            out[places] = np.searchsorted(edges, (np.arange(len(places)) + 0.5) / max(len(places), 1))
        return out

    def times(self, factor: float) -> "Rowset":
        """Return so many times the rows."""
        return replace(self, ill=max(1, round(self.ill * factor)), well=max(1, round(self.well * factor)))


ONE_HOSPITAL = {"A": 1.0}


def drawn(rows: Rowset, rng: np.random.Generator, right: float = RIGHT, *, ranks: bool = False) -> Evidence:
    """Draw a faithful candidate: one decision in 200 changes, half for the worse, from 3/4 to 1/4 or back."""
    labels, half = rows.labels(), CHANGE / 2
    n, chance = len(labels), rng.random(len(labels))
    was = chance >= 1 - right
    now = np.where(was, chance < 1 - half, chance < half)
    changed = was != now
    sure = np.where(changed, 0.75, rng.uniform(0.8, 0.99, n))
    correct = [np.where(was, sure, 1 - sure), np.where(now, sure, 1 - sure)]
    correct[1] = np.clip(correct[1] + np.where(changed, 0, rng.normal(0, 1e-4, n)), 0, 1)
    if ranks:
        correct = _ranked(labels, changed, rng)
    ill = [np.where(labels == 1, one, 1 - one) for one in correct]
    old, new = (Answers(np.stack([1 - one, one], axis=1), (one >= 0.5).astype(np.int64)) for one in ill)
    held = Rows(
        "evaluation", {}, labels, np.arange(n) // rows.rows_a_unit, np.arange(n, dtype=np.uint64), ("well", "ill"), 1,
        {"hospital": rows.hospital()}, {"hospital": tuple(rows.hospitals)},
    )  # fmt: skip
    return Evidence(held, old, new, old.decisions == new.decisions)


def _ranked(labels: np.ndarray, changed: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw scores whose area is about .9, and move the changed cases by half of the other class, up or down."""
    area = rng.normal(0, 1, len(labels)) + 0.906  # how far on the right side; the other class is its mirror image
    other = np.sort(-(rng.normal(0, 1, 4000) + 0.906))
    place = np.searchsorted(other, area) / len(other)
    aim = np.clip(np.where(place >= 0.5, place - 0.5, place + 0.5), 0, 1 - 1e-9)
    low = other[(aim * len(other)).astype(int)]
    was = np.where(changed & (rng.random(len(labels)) < 0.5), low, area)
    now = np.where(changed, np.where(was == area, low, area), area) + rng.normal(0, 1e-4, len(labels))
    return [1 / (1 + np.exp(-one)) for one in (was, now)]


def gate_of(metric: str, comparison: str, threshold: float, where: str = "all", preset: str = "gates") -> Gate:
    """Write a gate."""
    least = 50 if preset == "bias" else 0
    name = f"{metric} {comparison} {where}"
    return Gate(name, preset, metric, where, comparison, threshold, gate_test(metric, comparison), "", min_cases=least)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PowerCell:
    """Gates that must pass together, on rows of a kind; `counted` says which rows the stated number counts."""

    name: str
    gates: tuple[Gate, ...]
    rows: Rowset
    counted: str  # rows, ill, rarer, group, units
    right: float = RIGHT
    ranks: bool = False
    runs: float = 1.0

    def needed(self) -> int | None:
        """Return the cases that the plan states for the first gate."""
        return with_cases(self.gates[0], self.rows.facts(), 0.95).needed_cases

    def sized(self, cases: int) -> Rowset:
        """Return rows that hold so many of what is counted."""
        rows = self.rows
        there = {
            "rows": rows.ill + rows.well, "ill": rows.ill, "rarer": min(rows.ill, rows.well),
            "units": (rows.ill + rows.well) / rows.rows_a_unit,
            "group": rows.ill * min(rows.hospitals.values()) / sum(rows.hospitals.values()),
        }[self.counted]  # fmt: skip
        return rows.times(cases / there)

    def passes(self, rows: Rowset, rng: np.random.Generator) -> bool:
        """Draw once, and judge all gates."""
        found = drawn(rows, rng, self.right, ranks=self.ranks)
        return all(judge(gate, found).verdict == "PASS" for gate in self.gates)


def pairs(metric: str, threshold: float, hospitals: Mapping[str, float]) -> tuple[Gate, ...]:
    """Write all ordered pairs of hospitals."""
    return tuple(
        gate_of(metric, "ratio_at_least", threshold, f"subgroup hospital.{one} / hospital.{other}", "bias")
        for one, other in itertools.permutations(hospitals, 2)
    )


def cells() -> Iterator[PowerCell]:
    """Yield one gate each, the pairs of several groups, and units of several rows."""
    base = Rowset(300, 700, ONE_HOSPITAL)
    for r in (0.9, 0.95, 0.97, 0.98, 0.99):
        yield PowerCell("retention", (gate_of("accuracy", "retention", r),), base, "rows")
    for d in (0.02, 0.05):
        yield PowerCell("drop of accuracy", (gate_of("accuracy", "drop_at_most", d),), base, "rows")
    for r in (0.95, 0.98, 0.99):
        yield PowerCell("kept", (gate_of("kept", "at_least", r, "class ill"),), base, "ill")
    for r in (0.9, 0.95):
        gate = gate_of("sensitivity", "at_least", r, "class ill")
        yield PowerCell("sensitivity", (gate,), base, "ill", right=(1 + r) / 2)
    for r in (0.95, 0.98):
        yield PowerCell("same decision", (gate_of("same_decision", "at_least", r),), base, "rows")
        yield PowerCell("agreement", (gate_of("agreement", "at_least", r),), base, "rows")
    for d in (0.01, 0.02, 0.05):
        yield PowerCell("calibration", (gate_of("brier", "rise_at_most", d),), base, "rows", runs=0.5)
    for r in (0.95, 0.98, 0.99):
        gate = gate_of("auroc", "retention", r)
        yield PowerCell("AUROC", (gate,), base, "rarer", ranks=True, runs=0.25)
    for share in (100, 500):
        rows = Rowset(share, 1000 - share, ONE_HOSPITAL)
        for metric, comparison, threshold in (
            ("balanced_accuracy", "retention", 0.95), ("f1", "retention", 0.95), ("precision", "drop_at_most", 0.05),
            ("f1", "drop_at_most", 0.05),
        ):  # fmt: skip
            gate = gate_of(metric, comparison, threshold)
            name = f"{metric.replace('_', ' ')}, {share // 10} % positive"
            yield PowerCell(name, (gate,), rows, "rows", runs=0.25)
    for k in (2, 3, 4, 8):
        hospitals = {f"h{place}": 1.0 for place in range(k)}
        for r in (0.85, 0.95) if k <= 4 else (0.85,):
            rows = Rowset(300, 300, hospitals)
            yield PowerCell(f"bias, {k} groups", pairs("sensitivity", r, hospitals), rows, "group", runs=2 / k)
    reference = replace(
        gate_of("balanced_accuracy", "at_least", 0.5), id="reference", preset="reference", test="two_proportions"
    )
    yield PowerCell("reference row", (reference,), base, "rows")
    for r in (0.95, 0.98):
        rows = Rowset(300, 700, ONE_HOSPITAL, 10)
        yield PowerCell("retention, units of 10 rows", (gate_of("accuracy", "retention", r),), rows, "units", runs=0.5)
        gate = gate_of("agreement", "at_least", r)
        yield PowerCell("agreement, units of 10 rows", (gate,), rows, "units", runs=0.5)


@dataclass(frozen=True)
class Joint:
    """A whole contract on some rows: what the plan states, and what comes."""

    name: str
    gates: tuple[Gate, ...]
    rows: Rowset
    runs: float = 1.0

    def stated(self) -> tuple[float, float, str]:
        """Return the chance that the plan states, its error, and the gate that costs most."""
        data = self.rows.facts()
        sample = sample_of(data.roles["evaluation"], data.positive, self.gates, 0)
        power = joint_power(self.gates, sample, 0.95)
        assert power.chance is not None
        return power.chance, power.error, power.costliest

    def passes(self, rng: np.random.Generator) -> bool:
        """Draw once, and judge all gates."""
        found = drawn(self.rows, rng)
        return all(judge(gate, found).verdict == "PASS" for gate in self.gates)


def joints() -> Iterator[Joint]:
    """Yield contracts near their margins."""
    two, four = {"A": 3.0, "B": 1.0}, {"A": 4.0, "B": 3.0, "C": 2.0, "D": 1.0}
    retention = gate_of("accuracy", "retention", 0.98)
    brier, same = gate_of("brier", "rise_at_most", 0.02), gate_of("same_decision", "at_least", 0.98)
    kept = gate_of("kept", "at_least", 0.98, "class ill")
    yield Joint("retention and calibration", (retention, brier), Rowset(90, 190, ONE_HOSPITAL))
    yield Joint("retention, kept, same decision", (retention, kept, same), Rowset(280, 420, ONE_HOSPITAL))
    yield Joint(
        "bias of two hospitals, retention", (*pairs("sensitivity", 0.85, two), retention), Rowset(400, 600, two)
    )
    gates = (*pairs("sensitivity", 0.85, four), kept, retention, brier, gate_of("balanced_accuracy", "retention", 0.97))
    yield Joint("bias of four hospitals and five more", gates, Rowset(1000, 1500, four), 0.5)
    groups = (gate_of("sensitivity", "retention", 0.95, f"subgroup hospital.{name}", "bias") for name in four)
    yield Joint("change within four hospitals, kept", (*groups, kept), Rowset(900, 900, four), 0.5)
    yield Joint("retention and agreement, units of 10 rows", (gate_of("accuracy", "retention", 0.95),
                gate_of("agreement", "at_least", 0.95)), Rowset(300, 500, ONE_HOSPITAL, 10), 0.5)  # fmt: skip

"""Ways in which decisions can be worse than a gate allows, or faithful: what is drawn, and judged before and after."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from contract.former_tests import agreement, group_ratio, retention

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import TESTS
from titrant.runtime.contract.statistics.proportions import (
    GroupShare,
    Pairs,
    binomial_lower_bound,
    group_ratio_lower_bound,
    paired_difference_upper_bound,
    paired_ratio_lower_bound,
)
from titrant.runtime.contract.verdict import verdict
from titrant.runtime.values import Rows
from titrant.schema.gate import Gate, gate_test

FLIPS = 0.0025
Draw = Callable[[np.random.Generator, bool], tuple[bool | None, bool]]


@dataclass(frozen=True)
class Cell:
    """One procedure, pattern and size; `make` gives what draws and judges once, at the margin or not."""

    procedure: str
    pattern: str
    cases: str
    threshold: float
    make: Callable[[], Draw]
    quick: bool = False


def passes(gate: Gate, evidence: Evidence) -> bool:
    """Judge by titrant's own test."""
    return verdict(gate, TESTS[gate.test](gate, evidence)) == "PASS"


def gate_of(metric: str, comparison: str, threshold: float) -> Gate:
    """Write a gate on all cases."""
    return Gate("g", "gates", metric, "all", comparison, threshold, gate_test(metric, comparison), "simulated")  # type: ignore[arg-type]


def evidence_of(labels: np.ndarray, old: np.ndarray, new: np.ndarray, units: np.ndarray | None = None) -> Evidence:
    """Take decisions of two classes, or scores of the second, for evidence."""
    answers = [
        Answers(np.stack([1 - one, one], axis=1).astype(float), (one >= 0.5).astype(np.int64)) for one in (old, new)
    ]
    count = len(labels)
    rows = Rows(
        "evaluation", {}, labels, np.arange(count) if units is None else units, np.arange(count, dtype=np.uint64),
        ("well", "ill"), 1, {}, {},
    )  # fmt: skip
    return Evidence(rows, *answers, answers[0].decisions == answers[1].decisions)


def of_counts(
    cases: int, shares: tuple[Callable[[bool], list[float]], Callable[..., bool], Callable[..., bool] | None]
) -> Draw:
    """Draw the four counts of paired cases, and judge each table once."""
    probabilities, after, before = shares
    after = cache(after)
    before = before and cache(before)

    def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
        table = tuple(int(count) for count in rng.multinomial(cases, probabilities(margin)))
        return (before(*table) if before else None), after(*table)

    return draw


def paired_counts() -> Iterator[Cell]:
    """Retention, kept and drop of independent rows: unchanged tests, over gains and right answers."""
    for cases in (100, 300, 1000, 10000):
        for r in (0.95, 0.98, 0.99):
            for right, gains in ((0.9, 0.0), (0.9, 0.005), (0.7, 0.02), (0.99, 0.002)):

                def shares(margin: bool, right: float = right, gains: float = gains, r: float = r) -> list[float]:
                    lost = right * (1 - r) + gains if margin else FLIPS
                    more = gains if margin else FLIPS
                    return (
                        [right - lost, lost, more, max(1 - right - more, 0.0)]
                        if right + more <= 1
                        else [right - lost, lost, 1 - right, 0.0]
                    )

                def judged(both: int, lost: int, gained: int, neither: int, r: float = r) -> bool:
                    return (
                        both + lost > 0 and paired_ratio_lower_bound(Pairs(both, lost, gained, neither), 0.95)[0] >= r
                    )

                yield Cell(
                    "retention",
                    f"right {right}, gains {gains}",
                    str(cases),
                    r,
                    lambda n=cases, s=shares, j=judged: of_counts(n, (s, j, None)),
                    True,
                )  # type: ignore[misc]
            yield Cell(
                "kept",
                "independent losses",
                str(cases),
                r,
                lambda n=cases, r=r: of_counts(
                    n,
                    (
                        lambda margin: [r, 1 - r] if margin else [1 - FLIPS, FLIPS],
                        lambda kept, lost: binomial_lower_bound(kept, kept + lost, 0.95) >= r,
                        None,
                    ),
                ),
                True,
            )  # type: ignore[misc]
        yield Cell(
            "drop of accuracy",
            "gains .005",
            str(cases),
            0.02,
            lambda n=cases: of_counts(
                n,
                (
                    lambda margin: [0.85, 0.025, 0.005, 0.12] if margin else [0.8975, FLIPS, FLIPS, 0.0975],
                    lambda both, lost, gained, neither: (
                        paired_difference_upper_bound(Pairs(both, gained, lost, neither), 0.95)[0] <= 0.02
                    ),
                    None,
                ),
            ),
            True,
        )  # type: ignore[misc]


def groups() -> Iterator[Cell]:
    """The ratio of two groups that differ in size, at several shares."""
    for one, other in ((50, 50), (500, 50), (50, 500), (150, 150), (500, 500), (5000, 5000), (1000, 100)):
        for r in (0.85, 0.95):
            for right in (0.05, 0.5, 0.9, 0.95):

                def make(one: int = one, other: int = other, r: float = r, right: float = right) -> Draw:
                    after = cache(
                        lambda x, y: (
                            y > 0 and group_ratio_lower_bound(GroupShare(x, one), GroupShare(y, other), 0.95)[0] >= r
                        )
                    )
                    before = cache(lambda x, y: y > 0 and group_ratio(GroupShare(x, one), GroupShare(y, other), r))

                    def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                        x, y = int(rng.binomial(one, right * (r if margin else 1))), int(rng.binomial(other, right))
                        return before(x, y), after(x, y)

                    return draw

                yield Cell("bias", f"{right} right", f"{one} / {other}", r, make, True)


def unit_sizes(rng: np.random.Generator, units: int) -> np.ndarray:
    """Draw 5 to 20 rows a unit."""
    return rng.integers(5, 21, units)


def failing(rng: np.random.Generator, sizes: np.ndarray, loss: float, pattern: str) -> np.ndarray:
    """Draw which rows fail (rows,), a share `loss` of all: whole units, half of a unit's rows, or large units."""
    units = np.repeat(np.arange(len(sizes)), sizes)
    if pattern == "large units":
        chance = np.where(sizes >= np.quantile(sizes, 0.75), 1.0, 0.0)
        chance *= loss * sizes.sum() / (chance @ sizes)
        return (rng.random(len(sizes)) < chance)[units]
    if pattern == "halves of units":
        return (rng.random(len(sizes)) < 2 * loss)[units] & (rng.random(len(units)) < 0.5)
    return (rng.random(len(sizes)) < loss)[units]


def clustered() -> Iterator[Cell]:
    """Units that fail whole and rarely behind scattered flips."""
    for units, r in (
        (30, 0.95),
        (60, 0.95),
        (100, 0.95),
        (100, 0.98),
        (300, 0.98),
        (1000, 0.98),
        (1000, 0.99),
        (10000, 0.99),
    ):
        for pattern in ("whole units", "halves of units", "large units"):
            for metric in ("retention", "agreement"):

                def make(units: int = units, r: float = r, pattern: str = pattern, metric: str = metric) -> Draw:
                    gate = (
                        gate_of("accuracy", "retention", r)
                        if metric == "retention"
                        else gate_of("agreement", "at_least", r)
                    )

                    def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                        sizes = unit_sizes(rng, units)
                        of_unit = np.repeat(np.arange(units), sizes)
                        old = rng.random(len(of_unit)) < 0.95
                        # One row in 200 flips by itself; at the margin units fail for the rest of what is forbidden.
                        flips = 0.005 if margin else FLIPS
                        changed = rng.random(len(of_unit)) < np.where(old | (metric == "agreement"), flips, flips * 19)
                        failed = (
                            failing(rng, sizes, 1 - r - flips * (metric == "agreement"), pattern)
                            if margin
                            else np.zeros(len(old), bool)
                        )
                        if metric == "agreement":
                            new = old ^ (changed | failed)
                            before = agreement(old == new, of_unit, r)
                        else:
                            new = np.where(failed, False, old ^ changed)
                            before = retention(old, new, of_unit, r)
                        labels = np.ones(len(old), np.int64)
                        return before, passes(gate, evidence_of(labels, old.astype(float), new.astype(float), of_unit))

                    return draw

                if units <= 1000 or pattern == "whole units":
                    yield Cell(f"{metric}, patients of 5 to 20 rows", pattern, str(units), r, make)


def copies() -> Iterator[Cell]:
    """Inputs that were recorded several times, taken for cases before."""
    for inputs, each, r in (
        (30, 10, 0.95),
        (100, 3, 0.98),
        (100, 3, 0.99),
        (300, 3, 0.98),
        (1000, 3, 0.99),
        (1000, 0, 0.99),
        (300, 0, 0.98),
    ):

        def make(inputs: int = inputs, each: int = each, r: float = r) -> Draw:
            gate = gate_of("accuracy", "retention", r)

            def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                sizes = np.full(inputs, each) if each else 1 + (rng.random(inputs) < 0.02) * rng.integers(1, 3, inputs)
                units = np.repeat(np.arange(inputs), sizes)
                old = (rng.random(inputs) < 0.97)[units]
                new = old & ~(rng.random(inputs) < (1 - r if margin else FLIPS))[units]
                labels = np.ones(len(old), np.int64)
                before = retention(old, new, np.arange(len(old)), r)
                return before, passes(gate, evidence_of(labels, old.astype(float), new.astype(float), units))

            return draw

        yield Cell("retention, copies", f"{each or 'hardly any'} a row", str(inputs), r, make)

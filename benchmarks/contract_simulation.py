"""Simulate how often the contract passes a candidate that it must not, and a faithful one: before and after.

    python benchmarks/contract_simulation.py --runs 200 --out benchmarks/contract_simulation.csv

Every row of the CSV is one procedure, pattern and number of cases. At the margin the truth is the least favourable that
the gate forbids, and at most 5 % may pass; a faithful candidate flips one decision in 400 either way. "before" are
`former_tests.py`. `--runs` counts the draws of slow procedures; those that rest on counts alone have a hundred times as
many. Seeds are those of the rows. 20 minutes on two cores are enough for `--runs 400`.
"""

import argparse
import csv
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from former_tests import agreement, auroc, group_ratio, latency, resampled, retention
from scipy.stats import norm  # noqa: TID253 - the independent computation

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, slice_answers
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
from titrant.schema.values.slice import ALL

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


def areas() -> Iterator[Cell]:
    """Positives or negatives that are lost wholly, and scores that are blurred."""
    area = norm.cdf(2 / math.sqrt(2))
    for positives, negatives in ((35, 65), (100, 200), (300, 700), (1000, 9000)):
        for r in (0.98, 0.99):
            blur = math.sqrt(max((2 / norm.ppf(r * area)) ** 2 / 2 - 1, 0))
            for pattern in ("blurred", "positives lost", "negatives lost", "both lost"):

                def make(
                    n: tuple[int, int] = (positives, negatives),
                    r: float = r,
                    pattern: str = pattern,
                    blur: float = blur,
                ) -> Draw:
                    gate, positive = gate_of("auroc", "retention", r), np.arange(sum(n)) < n[0]

                    def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                        old = rng.normal(0, 1, sum(n)) + 2 * positive
                        new = np.round(old * 8) / 8 + 1e-4 * rng.normal(0, 1, sum(n))
                        if margin and pattern == "blurred":
                            new = old + blur * rng.normal(0, 1, sum(n))
                        elif margin:
                            # Where both are lost, the chance to rank a pair rightly falls by either.
                            each = 1 - (math.sqrt(r) if pattern == "both lost" else r)
                            lost = (rng.random(sum(n)) < each) & {
                                "positives lost": positive,
                                "negatives lost": ~positive,
                            }.get(pattern, True)
                            new = np.where(lost, np.where(positive, -9.0, 9.0) + rng.random(sum(n)), new)
                        scores = [1 / (1 + np.exp(-one)) for one in (old, new)]
                        return auroc(*scores, positive, r), passes(
                            gate, evidence_of(positive.astype(np.int64), *scores)
                        )

                    return draw

                yield Cell("AUROC", pattern, f"{positives} + {negatives}", r, make)


def rare_classes() -> Iterator[Cell]:
    """Metrics by class where all losses fall on the positive class, which may be rare."""
    for metric, comparison, threshold in (
        ("balanced_accuracy", "retention", 0.95),
        ("f1", "retention", 0.95),
        ("precision", "drop_at_most", 0.05),
    ):
        for share in (0.02, 0.1, 0.3):
            hit, false = 0.95 * share, 0.05 * (1 - share)
            if metric == "balanced_accuracy":
                loss, alarms = 2 * (1 - threshold), 0.0
            elif metric == "f1":
                area = 2 * hit / (hit + false + share) * threshold
                loss, alarms = 1 - area * (false + share) / (hit * (2 - area)), 0.0
            else:
                loss, alarms = 0.0, (hit / (hit / (hit + false) - threshold) - hit - false) / (1 - share) / 0.95
            for cases in (300, 1000, 10000):

                def make(
                    at: tuple[str, str, float] = (metric, comparison, threshold),
                    rate: tuple[float, float] = (loss, alarms),
                    share: float = share,
                    cases: int = cases,
                ) -> Draw:
                    gate = gate_of(*at)

                    def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                        labels = (rng.random(cases) < share).astype(np.int64)
                        old = np.where(rng.random(cases) < 0.05, 1 - labels, labels)
                        new = np.where(
                            (rng.random(cases) < 0.08) & (labels == 0) & margin & (at[0] == "balanced_accuracy"),
                            1 - old,
                            old,
                        )
                        chance = rng.random(cases)
                        if margin:
                            new = np.where((labels == 1) & (old == 1) & (chance < rate[0]), 0, new)
                            new = np.where((labels == 0) & (old == 0) & (chance < rate[1]), 1, new)
                        else:
                            new = np.where(chance < FLIPS, 1 - old, new)
                        found = evidence_of(labels, old.astype(float), new.astype(float))
                        try:
                            return resampled(*at, slice_answers(found, at[0], ALL)), passes(gate, found)
                        except Exception:  # noqa: BLE001 - a metric that is not defined passes nothing
                            return False, False

                    return draw

                yield Cell(metric, f"positives {share}", str(cases), threshold, make)


def briers() -> Iterator[Cell]:
    """A Brier score that rises by its whole range in rare cases, behind rounding of all."""
    for cases in (100, 300, 1000, 10000):

        def make(cases: int = cases) -> Draw:
            gate = gate_of("brier", "rise_at_most", 0.02)

            def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                old = rng.beta(8, 0.2, cases)
                labels = np.ones(cases, np.int64)
                new = np.clip(old + rng.normal(0, 1e-4, cases), 0, 1)
                rise = 1 - float(np.mean((1 - rng.beta(8, 0.2, 4000)) ** 2))
                worse = rng.random(cases) < 0.02 / rise
                new = np.where(worse, 0.0, new) if margin else new
                return None, passes(gate, evidence_of(labels, old, new))

            return draw

        yield Cell("Brier score", "rare cases turn round", str(cases), 0.02, make)


def latencies() -> Iterator[Cell]:
    """A machine that is 1.5 times slower for a tenth of the time, in spells, and blocks of runs with pauses between."""
    for spell, blocks, runs, pause in (
        (0, 80, 1, 0),
        (10, 59, 1, 0),
        (10, 80, 5, 20),
        (100, 80, 1, 0),
        (100, 80, 5, 100),
        (100, 80, 5, 300),
    ):

        def make(spell: int = spell, blocks: int = blocks, runs: int = runs, pause: int = pause) -> Draw:
            def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                count = blocks * (runs + pause)
                changes = rng.random(count)
                slow, state = np.zeros(count, bool), bool(rng.random() < 0.1)
                for place in range(count if spell else 0):
                    state = changes[place] > 1 / spell if state else changes[place] < 0.1 / 0.9 / spell
                    slow[place] = state
                slow = slow if spell else changes < 0.1
                seconds = np.where(slow, 1.5, 1.0) * np.exp(0.03 * rng.normal(0, 1, count))
                chosen = seconds[(np.arange(blocks)[:, None] * (runs + pause) + np.arange(runs)).ravel()]
                # The true 95th percentile: half of the slow runs are beyond it. A fair limit is a third above that.
                limit = 1.5 * (1 - 1e-9) if margin else 2.0
                gate = Gate(
                    "g", "target", "latency_p95", "all", "at_most", limit, "order_statistic", "simulated", unit="s"
                )
                p50, p95, p99 = np.quantile(chosen, (0.5, 0.95, 0.99))
                timing = {"p50": p50, "p95": p95, "p99": p99, "samples": chosen.tolist(), "blocks": [runs] * blocks}
                found = evidence_of(np.ones(1, np.int64), np.ones(1), np.ones(1))
                found = Evidence(found.rows, None, None, found.alike, figures={"1": timing})
                return latency(chosen, 0.95, limit), passes(gate, found)

            return draw

        yield Cell("latency p95", f"spells of {spell} runs, pauses of {pause}", f"{blocks} x {runs}", 1.5, make)


CELLS = [
    *paired_counts(), *groups(), *clustered(), *copies(), *areas(), *rare_classes(), *briers(), *latencies(),
]  # fmt: skip


def simulate(task: tuple[int, int]) -> list[object]:
    """Draw one cell so many times, and return its row."""
    place, runs = task
    cell = CELLS[place]
    count = runs * 100 if cell.quick else min(runs, 60) if "10000" in cell.cases else runs
    seed = zlib.crc32(f"{cell.procedure}|{cell.pattern}|{cell.cases}|{cell.threshold}".encode())
    rng, draw = np.random.default_rng(seed), cell.make()
    rates: list[object] = []
    for margin in (True, False):
        outcomes = [draw(rng, margin) for _ in range(count)]
        for version in (0, 1):
            given = [outcome[version] for outcome in outcomes]
            rates.append("" if given[0] is None else round(sum(map(bool, given)) / count, 4))
    false = rates[1]
    assert isinstance(false, float)
    error = math.sqrt(max(false * (1 - false), 0.05 * 0.95) / count)
    return [
        cell.procedure, cell.pattern, cell.cases, cell.threshold, count, seed, *rates,
        "yes" if false <= 0.05 + 3 * error else "NO",
    ]  # fmt: skip


def main() -> None:
    """Simulate every cell in two processes and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--out", default="contract_simulation.csv")
    parser.add_argument("--only", default="", help="procedures whose name has this in it")
    options = parser.parse_args()
    places = [place for place, cell in enumerate(CELLS) if options.only in cell.procedure]
    columns = [
        "procedure",
        "pattern",
        "cases",
        "threshold",
        "runs",
        "seed",
        "false pass before",
        "false pass",
        "power before",
        "power",
        "at most 5 %",
    ]
    rows = []
    with Pool(2) as pool:
        for row in pool.imap(simulate, [(place, options.runs) for place in places]):
            rows.append(row)
            print(*row, sep=" · ", flush=True)
    with Path(options.out).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


if __name__ == "__main__":
    main()

"""Simulate how often labels of only what differs pass a candidate that they must not, and a faithful one.

    python benchmarks/labels_simulation.py --runs 1000 --out benchmarks/labels_simulation.csv

At the margin the truth is the least favourable that the gate forbids, and at most 5 % may pass. `given` says which
rows that are decided otherwise got a label: all, a random half, or none. A faithful candidate flips one decision in 400
either way; `labels` is how many of its rows differ on average, and `all labeled` how often it passes where every row
has a label. Rows of patients, ten each, fail whole. Seeds are those of the rows.
"""

import argparse
import csv
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, Unlabeled
from titrant.runtime.contract.judge import judge
from titrant.runtime.contract.unlabeled.judging import judge_with_unlabeled
from titrant.runtime.values import Rows
from titrant.schema.gate import Gate, gate_test

FLIPS = 0.0025
# What a candidate at the margin flips either way besides, and how often the original is right.
PATTERNS = {"losses only": (0.0, 0.9), "flips": (0.02, 0.9), "a poor original": (0.01, 0.7), "patients": (0.0, 0.9)}
POSITIVES, ROWS_OF_A_PATIENT = 0.3, 10
COLUMNS = [
    "gate", "threshold", "pattern", "labeled", "unlabeled", "given", "runs", "seed", "false pass", "power", "labels",
    "all labeled", "at most 5 %",
]  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One gate on so many rows with and without labels."""

    metric: str
    comparison: str
    threshold: float
    pattern: str
    labeled: int
    unlabeled: int
    given: float

    @property
    def gate(self) -> Gate:
        """The gate."""
        test = gate_test(self.metric, self.comparison)
        return Gate(self.metric, "gates", self.metric, "all", self.comparison, self.threshold, test, "simulated")  # type: ignore[arg-type]


def settings() -> Iterator[Setting]:
    """List what is simulated."""
    asked = [
        ("accuracy", "retention", 0.95), ("accuracy", "retention", 0.98), ("accuracy", "retention", 0.99),
        ("accuracy", "drop_at_most", 0.02), ("kept", "at_least", 0.95), ("kept", "at_least", 0.98),
        ("sensitivity", "retention", 0.97),
    ]  # fmt: skip
    for metric, comparison, threshold in asked:
        for pattern in PATTERNS:
            for labeled, unlabeled in ((100, 300), (300, 1000), (300, 10000)):
                for given in (1.0, 0.5, 0.0) if labeled == 300 and unlabeled == 1000 else (1.0,):
                    yield Setting(metric, comparison, threshold, pattern, labeled, unlabeled, given)


def decided(rng: np.random.Generator, setting: Setting, count: int, margin: bool) -> tuple[np.ndarray, ...]:
    """Draw labels and both models' decisions of some rows, (count,) each, and the rows' units."""
    flips, right = PATTERNS[setting.pattern]
    flips = flips if margin else FLIPS
    of_positives = setting.metric != "accuracy"
    share = setting.threshold if setting.comparison == "drop_at_most" else (1 - setting.threshold) * right
    worse = share if margin else 0.0
    units = np.arange(count) // (ROWS_OF_A_PATIENT if setting.pattern == "patients" else 1)
    labels = (rng.random(count) < POSITIVES).astype(np.int64)
    correct = rng.random(count) < right
    spoiled = rng.random(units[-1] + 1)[units] < worse / right
    draw = rng.random(count)
    # Of the rows that are left, so many that the margin is met exactly.
    lost = correct & (spoiled | (draw < flips / (right - worse)))
    gained = ~correct & (draw < flips / (1 - right))
    if of_positives:
        # A fraction of the positives is lost; what happens to the others proves nothing of them.
        lost = correct & np.where(labels == 1, spoiled | (draw < FLIPS * (not margin)), draw < flips / right)
        gained &= labels == 0
    original = np.where(correct, labels, 1 - labels)
    changed = lost | gained
    return labels, original, np.where(changed, 1 - original, original), units


def answers(decisions: np.ndarray) -> Answers:
    """Return answers of two classes that are sure."""
    return Answers(np.stack([1 - decisions, decisions], axis=1).astype(float), decisions)


def rows_of(labels: np.ndarray | None, units: np.ndarray) -> Rows:
    """Return rows of two classes."""
    count = len(units)
    return Rows("evaluation", {}, labels, units, np.arange(count, dtype=np.uint64), ("well", "ill"), 1)


def draw(rng: np.random.Generator, setting: Setting, margin: bool) -> Evidence:
    """Draw rows with and without labels, and give some of those that differ one."""
    labels, original, candidate, units = decided(rng, setting, setting.labeled, margin)
    truth, old, new, others = decided(rng, setting, setting.unlabeled, margin)
    given = np.where((old != new) & (rng.random(len(truth)) < setting.given), truth, -1)
    further = Unlabeled(rows_of(None, others), answers(old), answers(new), given)
    return Evidence(
        rows_of(labels, units), answers(original), answers(candidate), original == candidate, unlabeled=further
    )


def with_every_label(rng: np.random.Generator, setting: Setting) -> bool:
    """Whether a faithful candidate passes where every row has a label."""
    labels, original, candidate, units = decided(rng, setting, setting.labeled + setting.unlabeled, False)
    evidence = Evidence(rows_of(labels, units), answers(original), answers(candidate), original == candidate)
    return judge(setting.gate, evidence).verdict == "PASS"


def simulate(task: tuple[Setting, int]) -> list[object]:
    """Simulate one setting, and return its row."""
    setting, runs = task
    runs = min(runs, 100) if setting.pattern == "patients" else runs
    seed = zlib.crc32(repr(setting).encode())
    rng = np.random.default_rng(seed)
    false = (
        sum(judge_with_unlabeled(setting.gate, draw(rng, setting, True)).verdict == "PASS" for _ in range(runs)) / runs
    )
    faithful = [draw(rng, setting, False) for _ in range(max(runs // 5, 20))]
    power = np.mean([judge_with_unlabeled(setting.gate, evidence).verdict == "PASS" for evidence in faithful])
    differing = [
        int((e.unlabeled.original.decisions != e.unlabeled.candidate.decisions).sum()) for e in faithful if e.unlabeled
    ]
    every = np.mean([with_every_label(rng, replace(setting)) for _ in faithful])
    error, what = math.sqrt(0.05 * 0.95 / runs), f"{setting.metric} {setting.comparison}"
    return [
        what, setting.threshold, setting.pattern, setting.labeled, setting.unlabeled,
        setting.given, runs, seed, round(false, 4), round(float(power), 3), round(float(np.mean(differing)), 1),
        round(float(every), 3), "yes" if false <= 0.05 + 3 * error else "NO",
    ]  # fmt: skip


def main() -> None:
    """Simulate every setting and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", default="labels_simulation.csv")
    options = parser.parse_args()
    rows = []
    with Pool(options.processes) as pool:
        for row in pool.imap(simulate, [(setting, options.runs) for setting in settings()]):
            rows.append(row)
            print(*row, sep=" · ", flush=True)
    with Path(options.out).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main()

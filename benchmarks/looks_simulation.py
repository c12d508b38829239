"""Simulate how often some look at the same evaluation rows passes a candidate that it must not.

    python benchmarks/looks_simulation.py --runs 300 --out benchmarks/looks_simulation.csv

Every row of the CSV is one gate and one way to look, 5 and 20 times. At the margin the truth is the least favourable
that the gate forbids, and at most 5 % of the draws may have any look that passes. "no charge" takes every look for the
first one, "planned" plans so many looks (validation.looks: N), "open" charges open looks. Power is that of a faithful
candidate, which loses one decision in 400 and gains as many, in half as many draws. Seeds are those of the rows. Ways:

- rows are added: the same candidate again, each time with half as many rows as the first had more
- other candidates: each look judges another one on the same rows, whose errors are drawn anew
- climbing: each further candidate keeps four fifths of the errors of the best so far on these very rows
- both: every other look adds rows, and the ones between judge another candidate
- half of the rows: another candidate each time, on rows of which half were looked at before
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
from contract.cells import evidence_of, gate_of

from titrant.runtime.contract.judge import TESTS
from titrant.runtime.contract.verdict import charged, conclude, verdict
from titrant.runtime.run.evaluation_looks import SAMPLE, number_look, number_open_look
from titrant.schema.gate import Contract, GateResult
from titrant.schema.open_looks import OPEN, share_of
from titrant.schema.record import Look, LookSubject, RowSample

ALPHA, FLIPS, RIGHT = 0.05, 0.0025, 0.9
LOOKS = (5, 20)
# The looks whose power is told: the first, the fifth and the last.
AT = (0, 4, 19)
WAYS = ("rows are added", "other candidates", "climbing", "both", "half of the rows")


@dataclass(frozen=True)
class Cell:
    """A gate, a way to look, and the rows of the first look."""

    metric: str
    comparison: str
    threshold: float
    way: str
    rows: int

    @property
    def name(self) -> str:
        """What seeds it."""
        return f"{self.metric}|{self.comparison}|{self.threshold}|{self.way}|{self.rows}"


GATES = (
    ("accuracy", "retention", 0.98, 500),
    ("kept", "at_least", 0.95, 300),
    ("accuracy", "drop_at_most", 0.02, 500),
    ("brier", "rise_at_most", 0.02, 300),
    ("accuracy", "ratio_at_least", 0.9, 1300),
    ("balanced_accuracy", "at_least", 0.85, 1200),
)
_ALL_WAYS = (("accuracy", "retention"), ("kept", "at_least"))
CELLS = [
    Cell(metric, comparison, threshold, way, rows)
    for metric, comparison, threshold, rows in GATES
    for way in (WAYS if (metric, comparison) in _ALL_WAYS else WAYS[:2])
]


class Drawn:
    """Rows as they come, the decisions of one original on them, and of candidates."""

    def __init__(self, cell: Cell, rng: np.random.Generator, *, margin: bool) -> None:
        self.cell, self.rng, self.margin = cell, rng, margin
        most = cell.rows // 2 * (LOOKS[-1] + 2)
        self.labels = (rng.random(most) < 0.5).astype(np.int64)
        self.group = rng.integers(0, 2, most)
        # What an absolute gate forbids at the margin are all the candidate's errors.
        right = rng.random(most) < (1.0 if cell.metric == "balanced_accuracy" and margin else RIGHT)
        self.original = np.where(right, self.labels, 1 - self.labels)
        self.names = rng.integers(0, 2**63, most, dtype=np.uint64)

    def errors(self) -> np.ndarray:
        """Draw a candidate: which rows it answers otherwise than the original, (rows,) bool."""
        right, cell = self.original == self.labels, self.cell
        lost = gained = FLIPS
        if self.margin:
            gained = 2 * FLIPS if cell.metric == "accuracy" and cell.comparison != "ratio_at_least" else 0.0
            lost = gained + {
                "retention": RIGHT * (1 - cell.threshold), "ratio_at_least": RIGHT * (1 - cell.threshold),
                "at_least": 1 - cell.threshold,
            }.get(cell.comparison, cell.threshold)  # fmt: skip
        losing = np.full(len(right), lost if cell.metric in ("kept", "balanced_accuracy") else lost / RIGHT)
        if self.margin and cell.metric == "kept":
            losing[self.labels == 0] = 0.0
        if self.margin and cell.comparison == "ratio_at_least":
            losing[self.group == 1] = 0.0
        return self.rng.random(len(right)) < np.where(right, losing, gained / (1 - RIGHT))

    def sample(self, rows: np.ndarray) -> RowSample:
        """Return what a ledger keeps of some rows."""
        names = self.names[rows]
        smallest = np.sort(np.partition(names, SAMPLE)[:SAMPLE] if len(names) > SAMPLE else names)
        return RowSample(len(names), tuple(f"{name:016x}" for name in smallest))


def hopeful(cell: Cell, labels: np.ndarray, old: np.ndarray, new: np.ndarray, group: np.ndarray) -> float:
    """Return by how many standard errors the estimate is beyond the threshold."""
    before, after = (old == labels).astype(float), (new == labels).astype(float)
    if cell.metric == "kept":
        values = [after[(labels == 1) & (before == 1)] - cell.threshold]
    elif cell.metric == "balanced_accuracy":
        values = [after[labels == side] / 2 - cell.threshold / 2 for side in (0, 1)]
    elif cell.comparison == "ratio_at_least":
        values = [after[group == 0], -cell.threshold * after[group == 1]]
    elif cell.comparison == "retention":
        values = [after - cell.threshold * before]
    else:
        values = [after - before + cell.threshold]
    error = math.sqrt(sum(float(part.var()) / len(part) for part in values))
    beyond = sum(float(part.mean()) for part in values)
    return beyond / error if error else math.copysign(math.inf, beyond)


def passes(drawn: Drawn, errors: np.ndarray, rows: np.ndarray, contract: Contract, look: Look | None) -> bool:
    """Judge a candidate on some rows as a run does, and say whether its gate passes.

    One that is hardly beyond the threshold passes by no bound, which is not worked out then.
    """
    old, labels, group = drawn.original[rows], drawn.labels[rows], drawn.group[rows]
    new = np.where(errors[rows], 1 - old, old)
    if hopeful(drawn.cell, labels, old, new, group) < (1.0 if look is None else 1.5):
        return False
    found = evidence_of(labels, old.astype(float), new.astype(float))
    found = replace(
        found, confidence=contract.confidence, always_valid=contract.looks == OPEN,
        rows=replace(found.rows, subgroups={"site": group}, subgroup_values={"site": ("a", "b")}),
    )  # fmt: skip
    (gate,) = contract.gates
    # What else `judge` says of a gate, such as how many cases would prove it, takes most of its time.
    seen = TESTS[gate.test](gate, found)
    result = GateResult(
        gate.id, verdict(gate, seen), seen.estimate, seen.lower, seen.upper, seen.original, seen.candidate, seen.cases,
        seen.changed, None, seen.observed, seen.method, p_value=seen.p_value,
    )  # fmt: skip
    return charged(contract, conclude(contract, "c", [result]), look).verdict == "PASS"


def looked_at(cell: Cell, drawn: Drawn) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield what each look is at: which candidate, its errors, and the rows."""
    rows, candidate, errors, best = np.arange(cell.rows), 0, drawn.errors(), None
    yield candidate, errors, rows
    for place in range(1, LOOKS[-1]):
        if cell.way == "rows are added" or (cell.way == "both" and place % 2):
            rows = np.arange(len(rows) + cell.rows // 2)
        else:
            candidate += 1
            fresh = drawn.errors()
            if cell.way == "climbing":
                count = int(errors[rows].sum())
                best = (count, errors) if best is None or count < best[0] else best
                fresh = np.where(drawn.rng.random(len(fresh)) < 0.2, fresh, best[1])
            errors = fresh
            if cell.way == "half of the rows":
                rows = rows + cell.rows // 2
        yield candidate, errors, rows


def draw(cell: Cell, rng: np.random.Generator, *, margin: bool) -> dict[str, list[bool]]:
    """Look so many times, and say of each look whether it passed, by each way of charging."""
    drawn, contracts = Drawn(cell, rng, margin=margin), contracts_of(cell)
    answers: dict[str, list[bool]] = {name: [] for name in contracts}
    noted: dict[str, list[Look]] = {name: [] for name in contracts}
    for place, (candidate, errors, rows) in enumerate(looked_at(cell, drawn)):
        sample, subject = drawn.sample(rows), LookSubject(f"{candidate} {place}", f"{candidate}")
        for name, contract in contracts.items():
            planned = contract.looks if isinstance(contract.looks, int) else LOOKS[-1]
            if (name != "first" and place >= planned) or (not margin and (name == "first" or place not in AT)):
                continue
            rate, look = 1 - contract.confidence, None
            if name == "open":
                look = number_open_look(sample, subject, rate / share_of(1), noted[name])
            elif name != "first":
                look = number_look(sample, subject, rate, noted[name])
            noted[name] += [] if look is None else [look]
            answers[name].append(passes(drawn, errors, rows, contract, look))
    return answers


def contracts_of(cell: Cell) -> dict[str, Contract]:
    """Write the contract of a first look, of planned looks and of open ones."""
    where = "subgroup site.a / site.b" if cell.comparison == "ratio_at_least" else "all"
    gate = gate_of(cell.metric, cell.comparison, cell.threshold)
    test = "two_proportions" if cell.metric == "balanced_accuracy" else gate.test
    gates = (replace(gate, slice=where, test=test),)
    planned = {f"fixed {looks}": Contract(gates, 1 - ALPHA / looks, "proof", looks) for looks in LOOKS}
    first = Contract(gates, 1 - ALPHA, "proof")
    return {"first": first, **planned, "open": Contract(gates, 1 - ALPHA * share_of(1), "proof", OPEN)}


def simulate(task: tuple[int, int]) -> list[object]:
    """Draw one cell so many times, and return its row."""
    place, runs = task
    cell = CELLS[place]
    seed = zlib.crc32(cell.name.encode())
    rng = np.random.default_rng(seed)
    false = [draw(cell, rng, margin=True) for _ in range(runs)]
    power = [draw(cell, rng, margin=False) for _ in range(runs // 2)]

    def rate(name: str, looks: int) -> float:
        return round(float(np.mean([any(one[name][:looks]) for one in false])), 4)

    rates = [rate(name, looks) for looks in LOOKS for name in ("first", f"fixed {looks}", "open")]
    powers = [round(float(np.mean([one[name][at] for one in power])), 3) for name in ("fixed 5", "fixed 20", "open")
              for at in range(len(AT)) if name != "fixed 5" or AT[at] < 5]  # fmt: skip
    error = math.sqrt(ALPHA * (1 - ALPHA) / runs)
    kept = "yes" if max(rates[1], rates[2], rates[4], rates[5]) <= ALPHA + 3 * error else "NO"
    return [cell.metric, cell.comparison, cell.threshold, cell.way, cell.rows, runs, seed, *rates, *powers, kept]


COLUMNS = [
    "metric", "comparison", "threshold", "way to look", "rows of the first", "runs", "seed",
    *(f"false pass in {looks}, {name}" for looks in LOOKS for name in ("no charge", "planned", "open")),
    "power, 5 planned, first look", "power, 5 planned, fifth", "power, 20 planned, first", "power, 20 planned, fifth",
    "power, 20 planned, last", "power, open, first", "power, open, fifth", "power, open, last", "at most 5 %",
]  # fmt: skip


def main() -> None:
    """Simulate every cell in two processes and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--out", default="looks_simulation.csv")
    parser.add_argument("--only", default="", help="cells whose name has this in it")
    options = parser.parse_args()
    places = [place for place, cell in enumerate(CELLS) if options.only in cell.name]
    rows = []
    with Pool(2) as pool:
        for row in pool.imap(simulate, [(place, options.runs) for place in places]):
            rows.append(row)
            print(*row, sep=" · ", flush=True)
    with Path(options.out).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main()

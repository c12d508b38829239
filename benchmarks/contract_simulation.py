"""Simulate how often the contract passes a candidate that it must not, and a faithful one: before and after.

    python benchmarks/contract_simulation.py --runs 100 --out benchmarks/contract_simulation.csv

Every row of the CSV is one procedure, pattern and number of cases. At the margin the truth is the least favourable that
the gate forbids, and at most 5 % may pass; a faithful candidate flips one decision in 400 either way. "before" are
`contract/former_tests.py`; of a titrated release it is that the rows that chose judge too. `--runs` counts the draws of
slow procedures; those that rest on counts alone have a hundred times as many. Seeds are those of the rows. The rows
that are kept beside this file are of `--runs 100`.
"""

import argparse
import csv
import math
import zlib
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from contract import score_cells, vision_cells

CELLS = [*score_cells.CELLS, *vision_cells.CELLS]


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

"""Hold the power that a plan states against faithful candidates, drawn row by row and judged: alone and jointly.

    python benchmarks/contract_power.py --runs 1000 --out benchmarks/contract_power.csv

Of every gate the rows are as many as the plan needs for 80 %; "with more" is the lowest power at 5, 10, 20 and 30 %
more. Of every contract the plan states the chance that all gates pass. Seeds are those of the rows. The rows that are
kept beside this file are of `--runs 500`.
"""

import argparse
import csv
import math
import zlib
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from contract.power_cells import cells, joints

MORE = (1.05, 1.1, 1.2, 1.3)
COLUMNS = (
    "kind",
    "gates",
    "threshold",
    "cases",
    "runs",
    "seed",
    "stated",
    "simulated",
    "error",
    "with more",
    "within 5",
)


def gate_row(task: tuple[int, int]) -> list[object]:
    """Simulate one cell at its needed cases, and beyond."""
    cell = list(cells())[task[0]]
    runs = max(100, round(task[1] * cell.runs))
    needed = cell.needed()
    threshold = cell.gates[0].threshold
    seed = zlib.crc32(f"{cell.name}|{threshold}|{cell.gates[0].comparison}".encode())
    if needed is None:
        return ["alone", cell.name, threshold, "", runs, seed, 0.8, "", "", "", "NO"]
    rng, rates = np.random.default_rng(seed), []
    for times in (1.0, *MORE):
        rows, count = cell.sized(math.ceil(needed * times)), runs if times == 1 else max(100, runs // 2)
        rates.append(sum(cell.passes(rows, rng) for _ in range(count)) / count)
    error = 2 * math.sqrt(0.16 / runs)
    within = rates[0] >= 0.75 - error
    return [
        "alone", cell.name, threshold, needed, runs, seed, 0.8, round(rates[0], 4), round(error, 4),
        round(min(rates[1:]), 4), "yes" if within else "NO",
    ]  # fmt: skip


def joint_row(task: tuple[int, int]) -> list[object]:
    """Simulate one contract on its rows."""
    case = list(joints())[task[0]]
    runs = max(100, round(task[1] * case.runs))
    stated, stated_error, costliest = case.stated()
    seed = zlib.crc32(case.name.encode())
    rng = np.random.default_rng(seed)
    came = sum(case.passes(rng) for _ in range(runs)) / runs
    error = 2 * math.sqrt(max(came * (1 - came), 1 / runs) / runs) + stated_error
    return [
        "jointly", case.name, "", case.rows.ill + case.rows.well, runs, seed, stated, round(came, 4), round(error, 4),
        costliest, "yes" if abs(came - stated) <= 0.05 + error else "NO",
    ]  # fmt: skip


def main() -> None:
    """Simulate everything in two processes and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--out", default="contract_power.csv")
    parser.add_argument("--only", default="", help="gates or contracts whose name has this in it")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    table = []
    with Pool(options.processes) as pool:
        for simulate, made in ((gate_row, cells()), (joint_row, joints())):
            tasks = [(place, options.runs) for place, cell in enumerate(made) if options.only in cell.name]
            for row in pool.imap(simulate, tasks):
                table.append(row)
                print(*row, sep=" · ", flush=True)
    with Path(options.out).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *table])


if __name__ == "__main__":
    main()

"""The contract of a titrated release in simulation: several mixtures are tried, and no more are passed wrongly."""

import csv
import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
DRAWS = 120


@pytest.fixture(scope="module")
def cells():
    """The simulation's own module, which its scripts find beside themselves."""
    before = {*sys.modules}
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("contract.titrated_cells")
    finally:
        sys.path.remove(str(FOLDER))
        for name in {*sys.modules} - before:
            if name.partition(".")[0] == "contract":
                del sys.modules[name]


def kept():
    with (FOLDER / "contract_simulation.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["procedure"] == "titrated release"]


def test_has_simulated_every_setting(cells):
    made = {(cell.pattern, cell.cases, f"{cell.threshold:g}") for cell in cells.titrated()}
    assert {(row["pattern"], row["cases"], row["threshold"]) for row in kept()} == made
    assert len(made) == 16


def test_passes_no_more_forbidden_mixtures_than_it_says():
    for row in kept():
        assert float(row["false pass"]) <= 0.05, row
        assert row["at most 5 %"] == "yes"


def test_would_pass_more_where_what_chose_judges():
    tried = [row for row in kept() if row["pattern"] in ("each mixture at the margin", "a subgroup pays")]
    assert len(tried) == 8
    assert min(float(row["false pass before"]) for row in tried) > 0.1


def test_releases_faithful_mixtures_where_there_are_rows_enough():
    assert min(float(row["power"]) for row in kept() if row["cases"].startswith("5000")) > 0.85


@pytest.mark.parametrize("pattern", ["each mixture at the margin", "a subgroup pays"])
def test_repeats_what_the_file_says(cells, pattern):
    (cell,) = (
        each
        for each in cells.titrated()
        if (each.pattern, each.cases, each.threshold) == (pattern, "1000 + 1000", 0.98)
    )
    (row,) = (
        each for each in kept() if (each["pattern"], each["cases"], each["threshold"]) == (pattern, cell.cases, "0.98")
    )
    generator, draw = np.random.default_rng(7), cell.make()
    drawn = [draw(generator, True) for _ in range(DRAWS)]
    for place, column in enumerate(("false pass before", "false pass")):
        share = float(row[column])
        error = math.sqrt(max(share * (1 - share), 0.01) / DRAWS)
        assert abs(sum(outcome[place] for outcome in drawn) / DRAWS - share) <= 4 * error


def test_counts_every_case_of_both_parts_once(cells):
    generator = np.random.default_rng(0)
    for pattern in cells.PATTERNS:
        for margin in (True, False):
            lost = cells._losses(generator, 1000, 0.98, pattern, margin)
            for int8 in ((), ("r0",), ("r0", "r3", "r7")):
                tables = cells._tables(1000, lost, int8)
                assert sum(map(sum, tables.values())) == 1000
                assert sum(cells._whole(tables)) == 1000
                assert min(map(min, tables.values())) >= 0

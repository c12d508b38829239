"""What a report shows of very few cases: that there are some, and nothing from which their number follows."""

import copy
import itertools
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.contract.answers import count_answers
from titrant.runtime.report.page import page, write_report
from titrant.runtime.report.page.classes import class_changes
from titrant.runtime.report.record_view import read_record
from titrant.runtime.report.small_cells import without_small_cells
from titrant.schema.gate import NOT_SHOWN

LEAST = 5


def counts_of(tables):
    answers = tables.answers
    cells = [count for table in (answers.original, answers.candidate, answers.moved) for *_, count in table]
    return [*cells, *answers.gained, *answers.lost, *tables.totals]


@given(st.data(), st.integers(2, 4), st.integers(1, 60), st.booleans())
def test_shows_no_small_count_and_none_that_follows_from_its_row_or_column(data, classes, cases, labelled):
    drawn = [data.draw(st.lists(st.integers(0, classes - 1), min_size=cases, max_size=cases)) for _ in range(3)]
    labels, original, candidate = (np.array(values) for values in drawn)
    names = tuple(f"class {number}" for number in range(classes))
    real = count_answers(names, labels if labelled else None, original, candidate)
    tables = without_small_cells(real, LEAST)
    assert not [count for count in counts_of(tables) if isinstance(count, int) and 0 < count < LEAST]
    for before, shown in ((real.original, tables.answers.original), (real.moved, tables.answers.moved)):
        _follows_from_nothing(before, shown)
    for total, row in zip(tables.totals, range(classes), strict=False):
        line = [count for place, _, count in tables.answers.original if place == row]
        assert isinstance(total, int) or not all(isinstance(count, int) for count in line)
    known = [total for total in tables.totals if isinstance(total, int)]
    unknown = len(tables.totals) - len(known)
    assert unknown != 1 or cases - sum(known) >= LEAST or len(set(labels)) == 1


def _follows_from_nothing(real, shown):
    for axis, line in itertools.product((0, 1), range(4)):
        hidden = [count for *place, count in shown if place[axis] == line and not isinstance(count, int)]
        total = sum(count for *place, count in real if place[axis] == line)
        if len(hidden) == 1:
            # Alone in its row: then the row's total is what it says itself, and is not shown either.
            assert len([1 for *place, _ in shown if place[axis] == line]) == 1, (real, shown, total)


def test_says_less_than_five_where_so_few_changed():
    labels = np.array([0] * 60 + [1] * 40)
    candidate = labels.copy()
    candidate[:3] = 1
    changes = class_changes("x", count_answers(("ill", "well"), labels, labels, candidate), LEAST)
    assert changes.sentence == "The models decide fewer than 5 of 100 evaluation cases differently."
    (ill, well) = changes.rows
    assert (ill.cases, ill.before, ill.after, ill.gained, ill.lost) == ("60", "60", "≥5", "<5", "<5")
    assert (well.cases, well.after, well.lost) == ("40", "≥5", "0")
    assert changes.matrices[1].cells == (("≥5", "<5"), ("0", "≥5"))
    assert changes.matrices[1].weights[0] == (0.0, 0.0)  # the tint of a cell is a figure as well


def test_writes_no_small_cell_into_any_file(records, tmp_path):
    """The hand-made record has 3 wrong of 64 and 2 of 107 before, in its tables of decisions."""
    record = records.released()
    write_report(record, tmp_path)
    shown = json.loads((tmp_path / "report.json").read_text("utf-8"))["record"]["values"]["answers"]
    counts = [
        count for tables in shown.values() for part in ("original", "candidate", "moved") for *_, count in tables[part]
    ]
    assert counts
    assert not [count for count in counts if isinstance(count, int) and 0 < count < LEAST]
    assert "&lt;5" in (tmp_path / "report.html").read_text("utf-8")


def test_shows_every_cell_where_the_recipe_asks_for_that(records, tmp_path):
    write_report(records.released(), tmp_path, min_cell=1)
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["record"] == records.released()


def test_takes_no_gate_for_the_weakest_that_passed_on_a_group_too_small_to_show(records):
    made = copy.deepcopy(records.released())
    judged = next(one for one in made["run"]["candidates"] if one["candidate"] == "ort-static")["judgement"]
    weakest = page(read_record(made)).stories[0].contract.weakest.gate
    hidden = next(result for result in judged["results"] if result["gate"] != weakest)
    nothing = ("estimate", "lower", "upper", "original", "candidate", "cases", "changed", "needed_cases")
    hidden |= dict.fromkeys(nothing) | {"method": NOT_SHOWN, "verdict": "PASS"}
    assert page(read_record(made)).stories[0].contract.weakest.gate == weakest
    hidden["verdict"] = "INCONCLUSIVE"
    assert page(read_record(made)).stories[0].contract.weakest.gate == hidden["gate"]

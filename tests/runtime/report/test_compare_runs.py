"""Runs side by side: what differs comes first, and what cannot be compared is said."""

import copy
import json
import re

import pytest

from titrant.runtime.report.compare.runs import compare_runs
from titrant.runtime.report.compare.written import (
    comparison_html,
    comparison_json,
    comparison_markdown,
    comparison_schema,
)
from titrant.runtime.report.record_view import read_record


def compared(**made):
    return compare_runs({name: read_record(value) for name, value in made.items()})


@pytest.fixture
def pair(records):
    return compared(first=records.released(), second=records.failed())


def test_puts_what_the_runs_answer_otherwise_first(pair):
    assert [run.verdict for run in pair.runs] == ["PASS", "FAIL"]
    assert [run.candidate for run in pair.runs] == ["ort-static", "ort-static"]
    assert [gate.differs for gate in pair.gates] == [True, False, False, False]
    assert [cell.verdict for cell in pair.gates[0].cells] == ["PASS", "FAIL"]
    assert pair.notes == ()


def test_says_of_a_gate_that_a_run_does_not_have_it(records):
    both = compared(first=records.released(), second=records.inconclusive())
    missing = [gate for gate in both.gates if gate.cells[0].verdict == "–"]
    assert {gate.title for gate in missing} == {"safety (sensitivity)", "bias in sensitivity"}


def test_tells_no_speed_of_one_processor_beside_that_of_another(records):
    other = copy.deepcopy(records.released())
    other["hardware"]["cpu"] = "another one"
    other["plan"]["data_digest"] = "other rows"
    both = compared(first=records.released(), second=other)
    assert both.notes == (
        "They ran on different processors: speeds are told against each run's own original only.",
        "Their data differ: figures of quality are of different rows.",
    )
    assert both.chart.across.startswith("time of a batch, as a share")
    assert [mark.x for mark in both.chart.marks] == [pytest.approx(11.9 / 61)] * 2


def test_draws_each_run_and_the_original_where_one_processor_ran_all(pair):
    assert [mark.name for mark in pair.chart.marks] == ["first", "second", "original"]
    assert [mark.chosen for mark in pair.chart.marks] == [True, False, False]


def test_lists_what_was_decided_otherwise(records):
    other = copy.deepcopy(records.released())
    other["plan"]["decisions"][1]["chosen"] = "false"
    (decision,) = compared(first=records.released(), second=other).decisions
    assert (decision.subject, decision.chosen) == ("quantization.reduce_range", ("true", "false"))


def test_compares_what_made_nothing(records):
    both = compared(first=records.nothing_made(), second=records.released())
    assert (both.runs[0].candidate, both.runs[0].size, both.chart) == ("–", "–", None)
    assert "<svg" not in comparison_html(both)


def test_writes_the_same_in_every_format_and_needs_no_network(records):
    from jsonschema import Draft202012Validator

    names = {"ort-static": "<script>alert(1)</script>", "breast-cancer": "a|b`c"}
    both = compared(first=records.renamed(records.released(), names), second=records.failed())
    html, text, value = comparison_html(both), comparison_markdown(both), json.loads(comparison_json(both))
    assert not re.search(r"<script|https?:|src=", html)
    assert "&lt;script&gt;" in html
    assert not re.search(r"(?<!\\)<", text)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}) == 1, table
    Draft202012Validator(comparison_schema()).validate(value)
    assert [run["verdict"] for run in value["runs"]] == ["PASS", "FAIL"]
    assert value["gates"][0]["cells"][1]["verdict"] == "FAIL"
    assert len(value["points"]) == 3
    assert len(text.splitlines()) <= 60

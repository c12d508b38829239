"""The report as Markdown: one whole text, and names that cannot break out of it."""

import copy
import re
from pathlib import Path

import pytest

from titrant.runtime.report.page import page
from titrant.runtime.report.page.markdown import MOST_LINES, markdown_text
from titrant.runtime.report.record_view import read_record
from titrant.schema.values.text import block, code, inline

GOLDEN = Path(__file__).parent / "bare_report.golden"


def rendered(record):
    return markdown_text(page(read_record(record)))


def test_is_word_for_word_what_a_reviewer_saw(records):
    assert rendered(records.bare()) == GOLDEN.read_text(encoding="utf-8")


def test_keeps_every_table_in_shape(any_record):
    tables = re.findall(r"(?:^\|.*\n)+", rendered(any_record), re.MULTILINE)
    assert tables
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_fits_into_sixty_lines_and_says_what_is_left_out(any_record):
    text = rendered(any_record)
    assert len(text.splitlines()) <= MOST_LINES
    gates = any_record["plan"]["contract"]["gates"]
    many = copy.deepcopy(any_record)
    judged = [one["judgement"] for one in many["run"]["candidates"] if one["judgement"]]
    for place in range(60):
        many["plan"]["contract"]["gates"].append(gates[0] | {"id": f"more.{place}", "metric": f"metric_{place}"})
        for judgement in judged:
            judgement["results"].append(judgement["results"][-1] | {"gate": f"more.{place}"})
    text = rendered(many)
    assert len(text.splitlines()) <= MOST_LINES
    assert not judged or re.search(r"^and \d+ more rows, which all pass", text, re.M)


def test_lists_what_was_ruled_out_before_it_was_timed_with_the_reason(records):
    given = records.released()
    line = next(line for line in rendered(given).splitlines() if line.startswith("| ort-dynamic |"))
    assert "slower and larger" not in line
    untimed = copy.deepcopy(given)
    del untimed["values"]["timings"]["ort-dynamic"]
    line = next(line for line in rendered(untimed).splitlines() if line.startswith("| ort-dynamic |"))
    assert re.search(r"\| – \| .* \| . measured, not shortlisted: slower and larger than ort-static \|$", line)


def test_keeps_its_tables_in_shape_with_hostile_names(records):
    names = {"malignant": "a|b\n|c", "ort-static": "`x` | <b> @team", "level balanced": "\\| | \\"}
    text = rendered(records.renamed(records.released(), names))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table
    assert "<b>" not in text
    assert "@team" not in text


def test_escapes_what_markdown_would_read():
    assert inline("*a* <b>\n[c](d)") == r"\*a\* \<b\> \[c\](d)"


def test_fences_code_that_holds_fences():
    assert code("a`b``c") == "``` a`b``c ```"
    assert block("x\n````\ny").splitlines()[0] == "`````"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"formats": ["md"]}, "."),
        ({"formats": ["md", "json"]}, ". `report.json` holds the rest."),
        (
            {"formats": ["md", "json"], "evidence": ["bom"]},
            ". `report.json` holds the rest, `evidence/` documents for others.",
        ),
    ],
)
def test_names_no_file_that_the_recipe_leaves_out(records, params, words):
    record = copy.deepcopy(records.bare())
    steps = record["plan"]["steps"]
    steps.append(steps[-1] | {"id": "report", "operator": "report.render", "params": params})
    text = rendered(record).rstrip()
    assert text.endswith(f"on the machine that is to serve it{words}"), text[-200:]
    assert "report.html" not in text

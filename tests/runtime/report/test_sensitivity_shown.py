"""What each region does to the answers stands in the report: a picture, a table, and how it compares with the truth."""

import re

import pytest
from report_values import sensitivity

from titrant.runtime.report.page import html_text, markdown_text, page
from titrant.runtime.report.plots import bars
from titrant.runtime.report.record_view import read_record


def shown(records, **values):
    record = records.released()
    return page(read_record({**record, "values": {**record["values"], **values}}))


def test_draws_a_bar_for_each_region_and_names_it(records):
    text = html_text(shown(records))
    section = text[text.index('<section id="sensitivity">') :]
    section = section[: section.index("</section>")]
    assert section.count("<svg") == 1
    for name in ("net.0", "net.2..net.4", "out", "ort-static"):
        assert f">{name}<" in section
    assert "all tuning rows" in section


@pytest.mark.parametrize("checked", [True, False])
def test_lists_regions_with_what_all_rows_say_where_that_was_asked(records, checked):
    text = markdown_text(shown(records, sensitivity={"ort-static": sensitivity(checked=checked)}))
    section = text[text.index("## Sensitivity: ort-static") :]
    rows = re.findall(r"^\|.*$", section[: section.index("\n## ")], re.MULTILINE)
    assert len(rows) == 6
    assert len({row.count("|") for row in rows}) == 1
    assert ("1.8e-3" in section.replace("0.0018", "1.8e-3")) == checked
    assert ("Rank correlation with all tuning rows 1.00" in section) == checked


def test_says_of_a_region_what_its_figure_is_not(records):
    value = sensitivity(checked=False)
    value["regions"][0]["refused"] = "X212"
    value["regions"][2]["measured"] = True
    seen = shown(records, sensitivity={"ort-static": value})
    for text in (html_text(seen), markdown_text(seen).replace("`", "").replace("\\", "")):
        assert "net.0: the engine does not run it in lower precision (X212)" in text
        assert "net.2..net.4: its blocks cannot be parted" in text
        assert "out: measured, where the others are estimated" in text


def test_says_nothing_where_no_mixture_was_searched(records):
    assert "## Sensitivity" not in markdown_text(shown(records, sensitivity={}))
    assert 'id="sensitivity"' not in html_text(shown(records, sensitivity={}))


def test_draws_the_same_twice_and_without_any_damage(records):
    value = shown(records).record.values.sensitivity["ort-static"]
    assert bars("a $x$ <b>", value) == bars("a $x$ <b>", value)
    nothing = {**sensitivity(checked=False), "whole": 0.0}
    nothing["regions"] = [{**region, "kl": 0.0} for region in nothing["regions"]]
    assert "<svg" in html_text(shown(records, sensitivity={"ort-static": nothing}))

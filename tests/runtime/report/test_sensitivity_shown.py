"""What each region does to the answers stands in the report: a picture, a table, and how it compares with the truth."""

import pytest
from report_values import sensitivity

from titrant.runtime.report.page import html_text, page
from titrant.runtime.report.page.evidence_charts import bars
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
def test_marks_what_all_rows_say_where_that_was_asked(records, checked):
    text = html_text(shown(records, sensitivity={"ort-static": sensitivity(checked=checked)}))
    section = text[text.index('<section id="sensitivity">') :]
    section = section[: section.index("</section>")]
    assert section.count('class="bar-row"') == 3
    assert section.count('class="check"') == 3 * checked
    assert ("all tuning rows" in section) == checked


def test_says_of_a_region_what_its_figure_is_not(records):
    value = sensitivity(checked=False)
    value["regions"][0]["refused"] = "X212"
    value["regions"][2]["measured"] = True
    seen = shown(records, sensitivity={"ort-static": value})
    text = html_text(seen)
    assert "net.0: the engine does not run it in lower precision (X212)" in text
    assert "net.2..net.4: its blocks cannot be parted" in text
    assert "out: measured, where the others are estimated" in text


def test_says_nothing_where_no_mixture_was_searched(records):
    assert 'id="sensitivity"' not in html_text(shown(records, sensitivity={}))


def test_draws_the_same_twice_and_without_any_damage(records):
    value = shown(records).record.values.sensitivity["ort-static"]
    assert bars("a $x$ <b>", value) == bars("a $x$ <b>", value)
    nothing = {**sensitivity(checked=False), "whole": 0.0}
    nothing["regions"] = [{**region, "kl": 0.0} for region in nothing["regions"]]
    assert "<svg" in html_text(shown(records, sensitivity={"ort-static": nothing}))

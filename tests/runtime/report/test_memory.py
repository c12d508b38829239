"""Memory after each step, as a section of the report where the recipe asks for it."""

from titrant.runtime.report.memory import memory_section
from titrant.runtime.report.page import html_text
from titrant.runtime.report.page.gather import page
from titrant.runtime.report.record_view import read_record


def asked(record, *what, memory=None):
    """Ask for something in the plan of a record, and let its steps have measured some memory."""
    steps = [
        step | {"result": step["result"] | {"memory": memory}} if step.get("result") else step
        for step in record["run"]["steps"]
    ]
    plan, run = dict(record["plan"]) | {"profiled": list(what)}, dict(record["run"]) | {"steps": steps}
    return read_record(record | {"plan": plan, "run": run})


def test_lists_what_was_held_after_each_step(records):
    held = {"held_bytes": 5 << 20, "grown_bytes": 1 << 20, "device_bytes": None}
    record = asked(records.released(), "memory", memory=held)
    (section,) = memory_section(record)
    assert [column.name for column in section.table.columns] == ["#", "step", "peak", "after", "grown"]
    assert [cell.words for cell in section.table.rows[0][3:]] == ["5.0 MiB", "+1.0 MiB"]
    html = html_text(page(record))
    assert '<a href="#memory">Memory after each step</a>' in html
    assert "Resident memory after each step (MiB)" in html
    assert "utilization.html" not in html


def test_has_a_column_of_accelerators_where_one_was_used(records):
    held = {"held_bytes": 5 << 20, "grown_bytes": -1024, "device_bytes": 2048}
    (section,) = memory_section(asked(records.released(), "memory", memory=held))
    assert [cell.words for cell in section.table.rows[0][3:]] == ["5.0 MiB", "-1.0 KiB", "2.0 KiB"]


def test_says_of_which_steps_it_is_not_known(records):
    (section,) = memory_section(asked(records.released(), "memory"))
    assert not section.pictures
    assert section.notes[0].startswith("Results of an earlier version of titrant do not say it: ")


def test_points_at_the_page_of_the_hardware(records):
    html = html_text(page(asked(records.released(), "utilization")))
    assert '<a href="utilization.html">utilization.html</a>' in html
    assert 'id="memory"' not in html


def test_has_no_section_where_nobody_asks(records):
    assert memory_section(read_record(records.released())) == ()

"""The report says what the precision of a training gained, and what recomputing layers saved and cost."""

from dataclasses import replace

from titrant.runtime.report.page import html_text, markdown_text, page
from titrant.runtime.report.record_view import read_record
from titrant.runtime.report.steps import training_rows
from titrant.schema.record import Measurement
from titrant.schema.values.canonical import plain

MEASURED = {
    "step_seconds_fp32": 0.2, "step_seconds": 0.125, "precision_speedup": 1.6, "skipped_steps": 2.0,
    "activation_bytes_all": 100 * 2**20, "activation_bytes": 52 * 2**20, "activation_bytes_predicted": 50 * 2**20,
    "recompute_seconds": 0.03, "recompute_seconds_predicted": 0.02,
}  # fmt: skip


def measuring(records, measured):
    """A record of which the first step with a result measured these."""
    made = plain(records.released())
    step = next(step for step in made["run"]["steps"] if step["result"])
    step["result"]["measurements"] = [plain(Measurement(name, value)) for name, value in measured.items()]
    return read_record(made)


def test_says_what_was_gained_and_what_it_cost(records):
    record = measuring(records, MEASURED)
    assert [(row.before, row.after, row.predicted, row.words) for row in training_rows(record)] == [
        ("200 ms", "125 ms", "–", "1.60× as fast as fp32; 2 steps skipped"),
        ("100.0 MiB", "52.0 MiB", "50.0 MiB", "48% less"),
        ("–", "–", "20 ms lost", "30 ms lost"),
    ]
    made = page(record)
    assert "1.60× as fast as fp32" in html_text(made)
    assert "48% less" in markdown_text(made)


def test_says_nothing_of_a_training_in_fp32_that_keeps_everything(records):
    record = measuring(records, {"final_loss": 0.1})
    assert training_rows(record) == ()
    assert 'id="training"' not in html_text(page(replace(record, values=replace(record.values, curves=None))))

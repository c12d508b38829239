"""The report says what the precision of a training gained, and what recomputing layers saved and cost."""

from dataclasses import replace

from titrant.runtime.report.page import html_text, page
from titrant.runtime.report.record_view import Curves, Gradients, UnhealthyLayer, read_record
from titrant.runtime.report.steps import training_rows
from titrant.schema.record import Measurement
from titrant.schema.values.canonical import plain

MEASURED = {
    "step_seconds_fp32": 0.2, "step_seconds": 0.125, "precision_speedup": 1.6, "skipped_steps": 2.0,
    "activation_bytes_all": 100 * 2**20, "activation_bytes": 52 * 2**20, "activation_bytes_predicted": 50 * 2**20,
    "recompute_seconds": 0.03, "recompute_seconds_predicted": 0.02,
    "offload_all_bytes_predicted": 52 * 2**20, "offload_peak_bytes_predicted": 12 * 2**20,
    "offload_peak_bytes": 13 * 2**20, "offload_disk_bytes_predicted": 40 * 2**20, "offload_disk_bytes": 39 * 2**20,
    "offload_seconds": 0.05,
    "layout_seconds_contiguous": 0.2, "layout_seconds": 0.16, "layout_speedup": 1.25,
    "layout_bytes_contiguous": 9 * 2**20, "layout_bytes": 8 * 2**20,
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
        ("–", "13.0 MiB", "12.0 MiB", "75% less than predicted without"),
        ("–", "39.0 MiB", "40.0 MiB", "50 ms lost to writing and reading"),
        ("200 ms", "160 ms", "–", "1.25× as fast as contiguous"),
        ("9.0 MiB", "8.0 MiB", "–", "–"),
    ]
    made = page(record)
    assert "1.60× as fast as fp32" in html_text(made)
    assert "48% less" in html_text(made)


def test_draws_what_a_learning_rate_finder_saw(records):
    made = plain(records.released())
    made["values"]["curves"] = {
        "loss": [0.7, 0.5], "tuning_loss": [0.7, 0.6], "tuning_accuracy": [0.5, 0.8], "best_epoch": 2,
        "sweep": {"rates": [1e-4, 1e-3, 1e-2], "loss": [0.7, 0.5, 0.9], "chosen": 1e-3},
    }  # fmt: skip
    shown = html_text(page(read_record(made)))
    assert "Learning-rate finder" in shown
    assert "learning rate (dashed: 0.001 was taken)" in shown
    assert "Learning-rate finder" not in html_text(page(read_record(plain(records.released()))))


def test_says_nothing_of_a_training_in_fp32_that_keeps_everything(records):
    record = measuring(records, {"final_loss": 0.1})
    assert training_rows(record) == ()
    assert 'id="training"' not in html_text(page(replace(record, values=replace(record.values, curves=None))))


def test_names_layers_that_did_not_learn(records):
    record = measuring(records, {})
    gradients = Gradients(
        global_norm=(30.0, 12.0),
        above=1234,
        layers={
            "stem": UnhealthyLayer(vanishing=1, least=1e-12),
            "head": UnhealthyLayer(vanishing=2, exploding=3, least=0.0, most=4e5),
        },
    )
    unhealthy = replace(record, values=replace(record.values, curves=Curves(loss=(1.0, 0.5), gradients=gradients)))
    assert [(row.subject, row.words) for row in training_rows(unhealthy)] == [
        ("gradients: global norm", "above the limit in 1,234 steps, up to 30"),
        ("gradients: stem", "vanishes in 1 step, down to 1e-12"),
        ("gradients: head", "vanishes in 2 steps, down to 0; explodes in 3 steps, up to 4e+05"),
    ]
    assert "Largest global norm of the gradients" in html_text(page(unhealthy))
    healthy = replace(
        record, values=replace(record.values, curves=Curves(loss=(1.0,), gradients=Gradients(global_norm=(1.0,))))
    )
    assert training_rows(healthy) == ()
    assert "Largest global norm" not in html_text(page(healthy))

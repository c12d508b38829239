"""Reading a run record."""

import copy

import pytest

from titrant.runtime.report.record_view import read_record
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.facts import Hardware
from titrant.schema.values.canonical import plain


def test_gives_back_what_was_written(any_record):
    record = read_record(any_record)
    assert plain(record.plan) == any_record["plan"]
    assert plain(record.run) == any_record["run"]


def test_does_without_what_differs_between_reruns(records):
    made = copy.deepcopy(records.released())
    for name in ("run", "executed", "reused", "seconds"):
        del made["run"][name]
    assert read_record(made).run.verdict == "PASS"


def test_takes_a_machine_with_or_without_its_volatile_part(records):
    made = records.released()
    whole = made | {"hardware": plain(Hardware(read_record(made).hardware))}
    assert read_record(whole).hardware == read_record(made).hardware


def test_takes_a_metric_that_the_rows_do_not_define(records):
    made = copy.deepcopy(records.released())
    made["values"]["quality"]["onnx"]["candidate"]["auroc"] = None
    assert read_record(made).values.quality["onnx"].candidate["auroc"] is None


@pytest.mark.parametrize(
    ("break_it", "part"),
    [
        (lambda made: made.pop("run"), "'run' is missing"),
        (lambda made: made["plan"].pop("steps"), "plan.steps"),
        (lambda made: made["values"].update(timings={"original": {"one": {}}}), "one"),
        (lambda made: made["values"].update(point={"kind": 3}), "values.point.kind"),
        (lambda made: made.update(plan=None), "NoneType"),
    ],
)
def test_names_the_part_that_is_not_a_record(records, break_it, part):
    made = copy.deepcopy(records.released())
    break_it(made)
    with pytest.raises(StepError) as raised:
        read_record(made)
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "X500"
    assert part in diagnostic.message

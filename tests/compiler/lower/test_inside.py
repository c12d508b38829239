"""A file with its transforms inside is made last, and judged and timed on raw columns; what it is made of is not."""

import importlib.util
from pathlib import Path

import pytest

from titrant.compiler.decide.rule import ExportRequest
from titrant.compiler.lower.lower import lower
from titrant.compiler.lower.verify import problems
from titrant.compiler.passes import passes
from titrant.schema.plan import takes_columns

HERE = Path(__file__).parents[1]
specification = importlib.util.spec_from_file_location("small_recipes", HERE / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)

INSIDE = ExportRequest("onnx", "model", transforms="inside")
BESIDE = ExportRequest("onnx", "plain")


@pytest.fixture
def plan(tmp_path):
    def compiled(*chains, exports=(INSIDE,), text=small.TABULAR, **files):
        bound = small.bind(text, tmp_path, **files)
        decisions = small.decisions(*chains, training={"epochs": 2}, exports=exports)
        made = lower(bound, decisions, small.HARDWARE, small.MODEL, small.DATA)
        assert problems(made) == ()
        return passes.run(made)

    return compiled


def steps(plan):
    return {step.id: step for step in plan.steps}


def test_quantizes_the_model_alone_and_joins_the_transforms_last(plan):
    made = steps(plan(small.STATIC))
    [candidate] = plan(small.STATIC).candidates
    joining = made[candidate.model.rpartition(".")[0]]
    assert joining.operator == "export.inside"
    assert joining.inputs["transforms"] == "transform.transforms"
    assert joining.inputs["raw"] == "raw.tuning"
    quantizing = made[joining.inputs["model"].rpartition(".")[0]]
    assert quantizing.inputs["calibration"] == "transform.calibration"


def test_answers_judges_and_times_the_joined_file_on_raw_columns(plan):
    made = plan(small.PLAIN, small.STATIC)
    readers = {
        step.id: step.inputs["rows"]
        for step in made.steps
        if step.candidate and step.operator in ("validate.predict", "validate.repeats", "validate.batch_invariance")
    }
    assert set(readers.values()) == {"raw.tuning", "raw.evaluation"}
    timing = steps(made)["latency"]
    assert timing.inputs["rows"] == "transform.tuning"
    assert timing.inputs["raw"] == "raw.tuning"
    assert timing.params["columned"] == [candidate.id for candidate in made.candidates]
    assert all(takes_columns(made, candidate) for candidate in made.candidates)
    assert steps(made)["baseline.tuning"].inputs["rows"] == "transform.tuning"


def test_makes_two_candidates_of_a_chain_that_is_asked_for_in_both_forms(plan):
    made = plan(small.PLAIN, exports=(BESIDE, INSIDE))
    first, second = made.candidates
    assert second.id == f"{first.id}.inside"
    assert (takes_columns(made, first), takes_columns(made, second)) == (False, True)
    assert steps(made)["latency"].params["columned"] == [second.id]
    assert steps(made)[f"{first.id}.tuning"].inputs["rows"] == "transform.tuning"


def test_gives_no_raw_columns_where_no_file_takes_them(plan):
    made = plan(small.PLAIN, exports=(BESIDE,))
    assert "raw" not in steps(made)
    assert "columned" not in steps(made)["latency"].params


def test_answers_rows_without_labels_in_the_form_that_each_file_takes(plan):
    text = small.TABULAR.replace("  label:", "  unlabeled: {csv: more.csv}\n  label:")
    made = plan(small.PLAIN, exports=(BESIDE, INSIDE), text=text, data__unlabeled__csv="more.csv")
    first, second = made.candidates
    assert steps(made)["unlabeled"].params["raw"] is True
    assert steps(made)[f"{first.id}.unlabeled"].inputs["rows"] == "unlabeled.unlabeled"
    assert steps(made)[f"{second.id}.unlabeled"].inputs["rows"] == "unlabeled.raw"
    alone = plan(small.PLAIN, exports=(BESIDE,), text=text, data__unlabeled__csv="more.csv")
    assert steps(alone)["unlabeled"].params["raw"] is False

"""apply: one operator on live values, checked before it runs."""

import pytest

from titrant.runtime.api import PlainContext, apply
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import RecipeError


def test_suggests_the_operator_that_was_meant():
    with pytest.raises(
        RecipeError, match=r"X230: there is no operator quantize.ort_statik \(did you mean quantize.ort_static"
    ):
        apply("quantize.ort_statik", {})


def test_tells_every_parameter_that_does_not_fit():
    with pytest.raises(RecipeError) as caught:
        apply("train.fit", {}, {"epoch": 3, "batch_size": 0})
    messages = {found.message: found.help for found in caught.value.diagnostics}
    assert messages["train.fit: epoch: extra inputs are not permitted"] == "did you mean epochs?"
    assert any("batch_size: input should be greater than or equal to 1" in message for message in messages)


def test_refuses_the_parameters_of_another_operator():
    from titrant.runtime.operators.model.fuse import FuseParams

    with pytest.raises(RecipeError, match=r"X231: train.fit takes FitParams, not FuseParams"):
        apply("train.fit", {}, FuseParams())


def test_takes_lists_and_refuses_layers_to_leave_that_are_not_there(torch_model):
    said = r"X231: quantize.bnb_int8: leave: `heads` is no part of Stack \(its parts are layers, layers.0"
    with pytest.raises(RecipeError, match=said):
        apply("quantize.bnb_int8", {"model": torch_model("Stack", 4, widths=[4, 2])}, {"leave": ["heads"]})


def test_tells_missing_and_unknown_inputs_together():
    with pytest.raises(RecipeError, match=r"X232: model.fuse: model is missing; module is not a port"):
        apply("model.fuse", {"module": None})


def test_gives_an_operator_the_same_random_numbers_for_the_same_seed(tmp_path):
    first, second, other = (PlainContext(seed, 1, tmp_path).generator.random(3).tolist() for seed in (1, 1, 2))
    assert first == second != other


def test_refuses_a_measurement_that_is_no_number(tmp_path):
    with pytest.raises(ValueError, match="the measurement loss is nan"):
        PlainContext(1, 1, tmp_path).measure("loss", float("nan"))


def test_runs_an_operator_without_inputs_of_its_own(tmp_path):
    done = apply(
        "data.load", {}, {"random": [{"name": "x", "shape": ["batch", 3]}], "random_rows": 4}, scratch=tmp_path
    )
    assert done.outputs["tables"].sources
    assert not isinstance(done.outputs["tables"], Rows)

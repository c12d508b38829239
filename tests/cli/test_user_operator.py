"""A user's own operator, in a module beside the recipe, is planned, run and judged like a built-in one (ledger C19)."""

import pytest

GRID = '''
"""A user's own reduction: round an ONNX file's weights to a grid."""

import numpy as np
import titrant
from pydantic import Field


class GridParams(titrant.Params):
    """How coarse the grid is."""

    steps: int = Field(256, ge=2, description="grid points over a tensor's range")


def predict(params, hardware, model, work):
    return titrant.Prediction(seconds=params.steps * 0.01, basis="modelled")


@titrant.operator(
    "my.grid", version=1, family="quantize", params=GridParams, predict=predict,
    inputs={"model": "onnx"}, outputs={"model": "onnx"}, libraries=("onnx",), user_code=True,
    method=titrant.Method("my.grid", takes="onnx", engine="onnxruntime", format="onnx", bits=(8,), rank=5),
)
def grid(params, context, *, model):
    """Round every weight to equal steps.

    Helps when: the file is compressed afterwards.
    Inputs:     model - an ONNX file
    Outputs:    model - same shapes
    Fails:      never
    Cost:       one pass over the weights
    """
    import onnx
    from onnx import numpy_helper

    loaded = onnx.load(model.path)
    for tensor in loaded.graph.initializer:
        values = numpy_helper.to_array(tensor)
        step = float(np.ptp(values)) / (params.steps - 1)
        if step > 0:
            tensor.CopyFrom(numpy_helper.from_array((np.round(values / step) * step).astype(values.dtype), tensor.name))
    onnx.save(loaded, context.scratch / "model.onnx")
    context.measure("steps", params.steps)
    return {"model": type(model)(context.scratch / "model.onnx")}
'''


def with_method(place, options):
    place.write("my_ops.py", GRID)
    return place.recipe(("{method: none}", f"{{method: 'my_ops:grid', options: {options}}}"))


@pytest.fixture(scope="module")
def ran(shared_place):
    """One run with the operator, and what it printed."""
    return shared_place, shared_place.titrant("run", with_method(shared_place, "{steps: 200}"))


def test_runs_and_judges_a_users_operator_named_in_the_recipe(ran):
    place, answer = ran
    assert answer.code == 0, answer.all
    assert "released my_ops:grid" in answer.out
    planned = next(line for line in answer.err.splitlines() if line.split()[1:3] == ["my_ops:grid", "my_ops:grid"])
    assert planned.split()[3:6] == ["2", "s", "f"]
    again = place.titrant("run", place.folder / "recipe.yaml")
    assert again.code == 0
    assert "nothing executed" in again.out


def test_runs_it_again_when_its_code_changed(ran):
    place, _ = ran
    assert "up to date" in place.here("status", "recipe.yaml").out
    place.write("my_ops.py", GRID.replace("* step)", "* step * 1.0)"))
    status = place.here("status", "recipe.yaml")
    place.write("my_ops.py", GRID)
    assert "my_ops:grid" in status.out, status.all
    assert "up to date" not in status.out


def test_refuses_an_option_that_it_does_not_have(place):
    recipe = with_method(place, "{step: 200}")
    before = place.here("check", recipe)
    assert (before.code, "not checked: my_ops:grid" in before.err) == (0, True), before.all
    answer = place.titrant("run", recipe)
    assert answer.code == 2
    assert "no option `step`" in answer.err
    assert "recipe.yaml" in answer.err
    # A child process has described it: `check` knows its options from now on.
    after = place.here("check", recipe)
    assert (after.code, "no option `step`" in after.err) == (2, True), after.all
    right = place.here("check", with_method(place, "{steps: 200}"))
    assert (right.code, right.err) == (0, "")


def test_refuses_a_module_that_is_not_there(place):
    answer = place.here("check", place.recipe(("{method: none}", "{method: 'nowhere:grid'}")))
    assert answer.code == 2
    assert "nowhere" in answer.err

"""What loaded transforms make is matched with the model's inputs, in the order of the training."""

import json

import numpy as np
import onnx  # noqa: TID253 - graphs are its subject
import pytest
from onnx import TensorProto, helper  # noqa: TID253

from titrant.runtime.data.parameters import File, TransformStep
from titrant.runtime.data.saved_transforms import save_transforms
from titrant.runtime.data.transforms import fit
from titrant.runtime.inspect.inputs import settled
from titrant.runtime.inspect.starter_model import describe_hints
from titrant.runtime.operators.data.transform import DataTransformParams, wire
from titrant.runtime.values import Table, Tables, Transforms
from titrant.schema.diagnostics.diagnostics import PreconditionError, RecipeError

COLUMNS = {"b": np.array([1.0, 2.0]), "a": np.array([3.0, 4.0])}
TABLES = Tables({"source": Table({**dict(sorted(COLUMNS.items())), "unused": np.zeros(2), "y": np.array([0, 1])})})


def graph(path, inputs, outputs, width):
    """Write a graph that gives each output a copy of one of its inputs."""
    nodes = [helper.make_node("Identity", [inputs[place % len(inputs)]], [name]) for place, name in enumerate(outputs)]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name in names]
        for names in (inputs, outputs)
    ]
    made = helper.make_graph(nodes, "g", *ends)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def run(tmp_path):
    inputs, dtypes, unstacked = wire(COLUMNS, ())
    folder = tmp_path / "transforms"
    folder.mkdir()
    steps = fit([TransformStep(name="standardize")], COLUMNS)
    save_transforms(Transforms(steps, inputs, dtypes, unstacked=unstacked), folder)
    return folder


def file_steps(path):
    return {"model.load_onnx": json.dumps({"onnx": {"path": str(path), "digest": "0"}})}


TORCH = {
    "model.load": json.dumps({"factory": "titrant.recipes.models:TabularNet", "args": {"features": 2, "classes": 2}})
}


def mapped(source, steps, **params):
    given = DataTransformParams(
        task="binary_classification", label="y", transform_from=File(path=str(source), digest="0"), **params
    )
    return settled(given, TABLES, steps, seed=0).parts


def test_calls_a_lone_input_as_the_file_does_and_keeps_the_order_of_the_run(run, tmp_path):
    assert mapped(run, file_steps(graph(tmp_path / "net.onnx", ["x"], ["logits"], 2))) == {"x": ("b", "a")}


def test_keeps_the_order_of_the_run_for_a_module(run):
    [(_, columns)] = mapped(run, TORCH).items()
    assert columns == ("b", "a")


def test_makes_every_input_of_the_columns_that_a_graph_takes(tmp_path):
    pre = graph(tmp_path / "pre.onnx", ["b", "a"], ["x", "z"], 1)
    net = graph(tmp_path / "net.onnx", ["z", "x"], ["logits"], 1)
    assert mapped(pre, file_steps(net)) == {"z": ("b", "a"), "x": ("b", "a")}


def test_asks_for_inputs_that_a_run_does_not_make(run, tmp_path):
    net = graph(tmp_path / "net.onnx", ["z", "x"], ["logits"], 1)
    with pytest.raises(RecipeError, match="X129"):
        mapped(run, file_steps(net))


def test_refuses_a_file_that_takes_text_and_says_what_to_write_instead(tmp_path):
    ends = [[helper.make_tensor_value_info(name, kind, ["batch", 1]) for name, kind in side] for side in (
        [("a", TensorProto.FLOAT), ("ward", TensorProto.STRING)], [("y", TensorProto.FLOAT)])]  # fmt: skip
    onnx.save(
        helper.make_model(helper.make_graph([helper.make_node("Identity", ["a"], ["y"])], "g", *ends), ir_version=8),
        tmp_path / "pipeline.onnx",
    )
    asked = DataTransformParams(task="binary_classification", label="y")
    for ask in (
        lambda: settled(asked, TABLES, file_steps(tmp_path / "pipeline.onnx"), seed=0),
        lambda: describe_hints(str(tmp_path / "pipeline.onnx")),
    ):
        with pytest.raises(PreconditionError, match=r"X162: pipeline.onnx takes text, as ward, and") as caught:
            ask()
        assert "data.transform_from" in caught.value.diagnostics[0].help

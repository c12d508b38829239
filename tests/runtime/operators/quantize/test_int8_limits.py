"""What onnxruntime's static tool and its kernels get wrong on their own answers nearly as in fp32 here."""

import numpy as np
import onnx  # noqa: TID253 - its very subject
import onnx_graphs
import pytest
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.api import apply
from titrant.runtime.backends.onnxruntime.tools import apply_tool
from titrant.runtime.values import OnnxModel, Rows
from titrant.schema.diagnostics.diagnostics import StepError

SHAPE = (4, 6, 6)


def graph(nodes, held, answers=("y",)):
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *SHAPE])
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", None, None, None]) for name in answers]
    weights = [numpy_helper.from_array(np.array(values, np.float32), name) for name, values in held.items()]
    made = helper.make_graph(nodes, "graph", [given], outs, weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def differences(model, folder, x):
    onnx.save(model, folder / "model.onnx")
    (folder / "scratch").mkdir()
    numbers = np.arange(len(x))
    rows = Rows("calibration", {"x": x}, None, numbers, numbers.astype(np.uint64), ("a", "b"), 1)
    inputs = {"model": OnnxModel(folder / "model.onnx"), "calibration": rows}
    done = apply("quantize.ort_static", inputs, scratch=folder / "scratch")
    for place in range(len(model.graph.output)):
        before, after = (
            onnx_graphs.answers(file, {"x": x}, output=place) for file in (model, done.outputs["model"].path)
        )
        yield float(np.abs(after - before).max() / np.abs(before).max())


@pytest.fixture
def x():
    return np.random.default_rng(2).normal(size=(onnx_graphs.ROWS, *SHAPE)).astype(np.float32)


@pytest.fixture
def weights():
    random = np.random.default_rng(4)
    return {"w": random.normal(size=(4, 4, 1, 1)) / 2, "v": random.normal(size=(4, 4, 1, 1)) / 2}


@pytest.mark.parametrize(("low", "high"), [(0.2, 1.5), (-1.5, -0.2), (-0.5, 1.0), (0.0, 6.0)])
def test_clips_also_where_the_limits_leave_zero_out(low, high, x, weights, tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Clip", ["c", "low", "high"], ["k"], "clip"),
        helper.make_node("Conv", ["k", "v"], ["y"], "last"),
    ]
    assert max(differences(graph(nodes, weights | {"low": low, "high": high}), tmp_path, x)) < 0.05


@pytest.mark.parametrize("kind", ["Relu", "Clip"])
def test_keeps_negative_numbers_of_an_output_that_is_read_on(kind, x, weights, tmp_path):
    limits = ["low", "high"] if kind == "Clip" else []
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], "conv"),
        helper.make_node(kind, ["h", *limits], ["r"], "activation"),
        helper.make_node("Conv", ["r", "v"], ["y"], "last"),
    ]
    model = graph(nodes, weights | {"low": 0.0, "high": 6.0}, ("y", "h"))
    assert max(differences(model, tmp_path, x)) < 0.05


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.1, 1.0])
def test_keeps_nearly_equal_shares(spread, x, weights, tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Mul", ["c", "spread"], ["s"]),
        helper.make_node("Conv", ["s", "v"], ["d"], "before"),
        helper.make_node("Softmax", ["d"], ["p"], axis=-1),
        helper.make_node("Conv", ["p", "w"], ["y"], "last"),
    ]
    assert max(differences(graph(nodes, weights | {"spread": spread}), tmp_path, x)) < 0.05


def test_takes_the_mean_of_what_has_none(x, weights, tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("InstanceNormalization", ["c", "one", "zero"], ["n"], "norm"),
        helper.make_node("GlobalAveragePool", ["n"], ["g"], "pool"),
        helper.make_node("Add", ["g", "far"], ["f"]),
        helper.make_node("Conv", ["f", "v"], ["y"], "last"),
    ]
    held = weights | {"one": np.ones(4), "zero": np.zeros(4), "far": np.ones((1, 4, 1, 1))}
    assert max(differences(graph(nodes, held), tmp_path, x)) < 0.05


@pytest.mark.parametrize("bad", [[3], [0], [6], []])
def test_names_the_node_that_a_tool_fails_on(bad):
    nodes = [f"node{place}" for place in range(7)]

    def make(chosen):
        if not bad or any(nodes[place] in chosen for place in bad):
            raise KeyError("no such thing")
        return len(chosen)

    assert apply_tool("static", nodes, len) == 7
    with pytest.raises(StepError) as caught:
        apply_tool("static", nodes, make)
    [diagnostic] = caught.value.diagnostics
    where = f"the node {nodes[bad[0]]}" if bad else "this graph"
    assert diagnostic.code == "X211"
    assert diagnostic.message == f"onnxruntime cannot quantize {where} (static): 'no such thing'"
    assert diagnostic.help == f"use quantization.method ort.dynamic, or write {where} with other operators"

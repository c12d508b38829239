"""The onnxruntime methods on graphs as exporters write them: the file loads, answers nearly as before, and is int8."""

import tempfile
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - its very subject
import onnx_graphs
import pytest
from hypothesis import given, settings

from titrant.runtime import catalog
from titrant.runtime.api import apply
from titrant.runtime.data.parameters import File
from titrant.runtime.inspect.onnx import describe_onnx
from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams, load_onnx
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import PreconditionError

# Of the largest answer: one layer and a head in 7 and 8 bits.
CLOSE = 0.05


def quantized(graph, method, folder, **params):
    """Quantize a graph as it was read from a file; returns the file and what was measured."""
    source = folder / "source.onnx"
    onnx.save(graph.model, source)
    loaded = folder / "loaded"
    loaded.mkdir()
    inputs = {"model": load_onnx(str(source), loaded)}
    if method == "static":
        numbers = np.arange(onnx_graphs.ROWS)
        ids = numbers.astype(np.uint64)
        inputs["calibration"] = Rows("calibration", graph.rows, None, numbers, ids, ("a", "b"), 1)
    scratch = folder / "scratch"
    scratch.mkdir()
    done = apply(f"quantize.ort_{method}", inputs, params, scratch=scratch)
    return done.outputs["model"].path, done.measurements


def described(graph, folder):
    """Inspect a graph as planning does."""
    source = folder / "source.onnx"
    onnx.save(graph.model, source)
    return describe_onnx(ModelLoadOnnxParams(onnx=File(path=str(source), digest="d")), None)


def taken(facts, method):
    """Count the layers that a method says it takes."""
    declared = catalog.get(f"quantize.ort_{method}").method
    layers = [layer for layer in facts.layers if layer.type in declared.layers and layer.weight_bytes]
    return sum(not (declared.leaves and declared.leaves(layer)) for layer in layers if layer.dtype == "float32")


def difference(first, second):
    return float(np.abs(first.astype(float) - second.astype(float)).max() / np.abs(second.astype(float)).max())


@pytest.mark.parametrize("method", ["static", "dynamic"])
@settings(max_examples=15)
@given(graph=onnx_graphs.written())
def test_answers_nearly_as_the_graph_does_however_it_was_written(method, graph):
    before = onnx_graphs.answers(graph.model, graph.rows)
    with tempfile.TemporaryDirectory() as place:
        path, _ = quantized(graph, method, Path(place))
        after = onnx_graphs.answers(path, graph.rows)
        layers, planned = onnx_graphs.integers(path), taken(described(graph, Path(place)), method)
    assert after.shape == before.shape
    assert difference(after, before) < CLOSE
    assert layers == planned == onnx_graphs.in_integers(graph, method)


@pytest.mark.parametrize("method", ["static", "dynamic"])
@settings(max_examples=8)
@given(graph=onnx_graphs.written(dtypes=("float16",)))
def test_names_the_number_format_of_weights_that_it_leaves(method, graph):
    with tempfile.TemporaryDirectory() as place:
        facts = described(graph, Path(place))
        weighty = {layer.dtype for layer in facts.layers if layer.weight_bytes}
        assert weighty == {"float16"}
        assert taken(facts, method) == 0
        with pytest.raises(PreconditionError, match=r"X210.*fp32"):
            quantized(graph, method, Path(place))


def branching(depth, seed):
    """A product, branches `depth` deep that multiply what it gives, read by nothing but the branches, and a product."""
    generator = np.random.default_rng(seed)
    helper, kinds = onnx.helper, onnx.TensorProto
    weights = {"first": (8, 16), "last": (16, 3)}

    def branch(name, level):
        weights[f"{name}_w"] = (16, 16)
        nodes = [helper.make_node("MatMul", ["hidden", f"{name}_w"], [f"{name}_h"])]
        if level > 1:
            nodes.append(choice(name, level - 1))
            nodes.append(helper.make_node("Relu", [f"{name}_y"], [f"{name}_o"]))
        else:
            nodes.append(helper.make_node("Relu", [f"{name}_h"], [f"{name}_o"]))
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(f"{name}_o", kinds.FLOAT, None)])

    def choice(name, level):
        sides = {f"{side}_branch": branch(f"{name}_{side}", level) for side in ("then", "else")}
        return helper.make_node("If", ["above"], [f"{name}_y"], **sides)

    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["product"]), helper.make_node("Relu", ["product"], ["hidden"]),
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),  # the same way for every batch
        helper.make_node("Greater", ["most", "low"], ["above"]),
        choice("all", depth), helper.make_node("MatMul", ["all_y", "last"], ["y"]),
    ]  # fmt: skip
    held = [
        onnx.numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    held.append(onnx.numpy_helper.from_array(np.float32(-100), "low"))
    ends = [helper.make_tensor_value_info(name, kinds.FLOAT, ["n", size]) for name, size in (("x", 8), ("y", 3))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_quantizes_graphs_whose_branches_read_from_outside(method, depth, tmp_path):
    for seed in range(2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        model = branching(depth, seed)
        onnx.save(model, folder / "original.onnx")
        rows = {"x": np.random.default_rng(seed).normal(size=(64, 8)).astype(np.float32)}
        numbers = np.arange(64)
        calibration = Rows("calibration", rows, None, numbers, numbers.astype(np.uint64))
        inputs = {"model": load_onnx(str(folder / "original.onnx"), folder)}
        inputs |= {"calibration": calibration} if method == "static" else {}
        (folder / "made").mkdir()
        done = apply(f"quantize.ort_{method}", inputs, scratch=folder / "made")
        assert done.measurements["quantized_nodes"] >= 2
        answers = [
            onnx_graphs.answers(path, rows, count=64, batch=64)
            for path in (folder / "original.onnx", done.outputs["model"].path)
        ]
        assert difference(answers[1], answers[0]) < CLOSE

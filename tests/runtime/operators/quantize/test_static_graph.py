"""What quantize.ort_static does to a graph so that all of a residual network runs in int8."""

import numpy as np
import onnx  # noqa: TID253 - its very subject
import onnxruntime  # noqa: TID253 - its very subject
import pytest
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.graph import pooled, products_first, read


def graph(*nodes, shape=("batch", 3, 4, 4), answer=("batch", 3), constants=(), opset=18):
    made = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, answer)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def answers(model, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def types(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(("keep", "expected"), [(1, ["GlobalAveragePool"]), (0, ["GlobalAveragePool", "Flatten"])])
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
def test_pools_a_mean_over_all_pixels(axes, keep, expected):
    shape = ("batch", 3, 1, 1) if keep else ("batch", 3)
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=keep)
    model = graph(mean, answer=shape, constants=[("axes", np.array(axes))])
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32)
    before, after = answers(model, x), pooled(model)
    assert types(after) == expected
    np.testing.assert_allclose(answers(after, x), before, rtol=1e-5)


def test_reads_the_axes_of_older_graphs_from_the_attribute():
    mean = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    assert types(pooled(graph(mean, opset=13))) == ["GlobalAveragePool", "Flatten"]


@pytest.mark.parametrize(
    ("axes", "shape"), [([1, 2], ("batch", 3, 4, 4)), ([1, 2], ("batch", 3, 4)), ([3], (1, 2, 3, 4))]
)
def test_leaves_other_means_alone(axes, shape):
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)
    answer = tuple(size for index, size in enumerate(shape) if index not in axes)
    model = graph(mean, shape=shape, answer=answer, constants=[("axes", np.array(axes))])
    assert types(pooled(model)) == ["ReduceMean"]


def test_leaves_a_mean_with_computed_axes_alone():
    cast = helper.make_node("Cast", ["wide"], ["axes"], to=TensorProto.INT64)
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)
    model = graph(cast, mean, constants=[("wide", np.array([2, 3], np.int32))])
    assert types(pooled(model)) == ["Cast", "ReduceMean"]


def test_puts_a_product_before_what_only_moves_its_input():
    slice_ = helper.make_node("Slice", ["r", "from", "to"], ["s"])
    conv = helper.make_node("Conv", ["r", "w"], ["c"])
    model = graph(
        helper.make_node("Relu", ["x"], ["r"]),
        slice_,
        conv,
        helper.make_node("Add", ["s", "c"], ["y"]),
        answer=("batch", 3, 4, 4),
        constants=[("from", np.array([0])), ("to", np.array([99])), ("w", np.ones((3, 3, 1, 1), np.float32))],
    )
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32)
    before = answers(model, x)
    assert types(products_first(model)) == ["Relu", "Conv", "Slice", "Add"]
    np.testing.assert_array_equal(answers(model, x), before)


def test_keeps_what_an_inner_graph_reads_before_it():
    inner = [
        helper.make_graph(
            [helper.make_node("Conv", ["r", "w"], ["a"])], "yes", [], [helper.make_empty_tensor_value_info("a")]
        ),
        helper.make_graph(
            [helper.make_node("Identity", ["r"], ["b"])], "no", [], [helper.make_empty_tensor_value_info("b")]
        ),
    ]
    branch = helper.make_node("If", ["flag"], ["y"], then_branch=inner[0], else_branch=inner[1])
    model = graph(
        helper.make_node("Relu", ["x"], ["r"]),
        branch,
        answer=("batch", 3, 4, 4),
        constants=[("flag", np.array(True)), ("w", np.ones((3, 3, 1, 1), np.float32))],
    )
    assert types(products_first(model)) == ["Relu", "If"]


def test_a_residual_block_with_a_mean_stays_in_int8_end_to_end(apply, torch_model, rows):
    shape = (3, 8, 8)
    exported = apply("export.onnx", {"model": torch_model("Residual", *shape), "example": rows(*shape)})
    done = apply("quantize.ort_static", {"model": exported.outputs["model"], "calibration": rows(*shape)})
    model = onnx.load(done.outputs["model"].path)
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    computing = [
        node for node in model.graph.node if node.op_type in ("Conv", "Add", "Slice", "GlobalAveragePool", "Gemm")
    ]
    assert {node.op_type for node in computing} == {"Conv", "Add", "Slice", "GlobalAveragePool", "Gemm"}
    assert all(producers[node.input[0]] == "DequantizeLinear" for node in computing)


@pytest.mark.parametrize("ranks", [1, 2], ids=["by number", "by place"])
def test_writes_sparse_weights_out_also_in_a_branch(ranks, tmp_path):
    weight = np.zeros((4, 3), np.float32)
    weight[[0, 2, 3], [1, 0, 2]] = 1.0, -2.0, 3.0
    places = np.argwhere(weight) if ranks == 2 else np.flatnonzero(weight)
    values = numpy_helper.from_array(weight[weight != 0], "w")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(places, "places"), weight.shape)
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["then"])], "branch", [], [output("then")], sparse_initializer=[sparse]
    )
    other = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["else"])], "other", [], [output("else")])
    nodes = [helper.make_node("If", ["asked"], ["y"], then_branch=inner, else_branch=other)]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4]),
        helper.make_tensor_value_info("asked", TensorProto.BOOL, []),
    ]
    net = helper.make_graph(nodes, "net", inputs, [output("y")], sparse_initializer=[sparse])
    onnx.save(helper.make_model(net, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "net.onnx")
    whole = read(tmp_path / "net.onnx").graph
    branch = next(item.g for item in whole.node[0].attribute if item.name == "then_branch")
    for held in (whole, branch):
        assert not held.sparse_initializer
        np.testing.assert_array_equal(numpy_helper.to_array(held.initializer[0]), weight)


def output(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3])

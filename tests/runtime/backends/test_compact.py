"""A quantized file holds little beside its weights, and not an answer nor a node that an engine runs is another."""

from collections import Counter
from unittest import mock

import numpy as np
import onnx  # noqa: TID253 - its very subject
import onnx_graphs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.compact import compact as module
from titrant.runtime.backends.onnxruntime.executed import executed
from titrant.runtime.values import OnnxModel

# A network, its input, how it is quantized, and operators that onnxruntime is to make of it.
CASES = {
    "static": ("Residual", (3, 8, 8), "ort_static", {}, ("QLinearConv", "QGemm")),
    "static by weight": ("Residual", (3, 8, 8), "ort_static", {"per_channel": False}, ("QLinearConv", "QGemm")),
    "static with layers left": ("Residual", (3, 8, 8), "ort_static", {"leave": ("second",)}, ("QLinearConv", "Conv")),
    "static products": ("PreNorm", (4, 32), "ort_static", {}, ("QLinearMatMul",)),
    "dynamic": ("PreNorm", (4, 32), "ort_dynamic", {}, ("DynamicQuantizeMatMul",)),
    "dynamic lookups": ("Recurrent", (5,), "ort_dynamic", {}, ("DynamicQuantizeLSTM",)),
    "few bits": ("Stack", (70,), "ort_nbits", {}, ("MatMulNBits",)),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Quantize a network; return the file as it is written and as it would be, and the names of its layers."""
    import torch
    from operator_nets import PreNorm, Recurrent, Residual, Stack

    from titrant.runtime.api import apply
    from titrant.runtime.values import Rows

    nets = {"Residual": Residual, "PreNorm": PreNorm, "Stack": lambda: Stack([70, 96, 4])}
    nets["Recurrent"] = lambda: Recurrent("LSTM")
    made = {}

    def make(case):
        if case in made:
            return made[case]
        name, shape, method, params, _ = CASES[case]
        folder = tmp_path_factory.mktemp(method)
        torch.manual_seed(1)
        net = nets[name]().eval()
        x = np.abs(np.random.default_rng(2).normal(size=(24, *shape))).astype(np.float32)
        torch.onnx.export(
            net, (torch.from_numpy(x[:2]),), str(folder / "plain.onnx"), dynamo=False, opset_version=17,
            input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )  # fmt: skip
        rows = Rows("calibration", {"x": x}, None, np.arange(24), np.arange(24).astype(np.uint64))
        given = {"calibration": rows} if method == "ort_static" else {}
        before, real = [], module.drop_types

        def noting(model):
            before.append(model.SerializeToString())
            real(model)

        with mock.patch.object(module, "drop_types", noting):
            done = apply(
                f"quantize.{method}", {"model": OnnxModel(folder / "plain.onnx"), **given}, params, scratch=folder
            )
        (folder / "long.onnx").write_bytes(before[0])
        layers = tuple(name for name, _ in net.named_modules() if name)
        made[case] = done.outputs["model"], OnnxModel(folder / "long.onnx"), x, layers
        return made[case]

    return make


def answers(path, x, *, optimized):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def ran(path, folder):
    from titrant.runtime.backends.onnxruntime.session import load

    load(path, threads=1, written_to=folder / "optimized.onnx")
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


@pytest.mark.parametrize("case", CASES)
def test_answers_and_runs_as_before_in_a_smaller_file(case, pair, tmp_path):
    short, long, x, layers = pair(case)
    for optimized in (True, False):
        before, after = (answers(model.path, x, optimized=optimized) for model in (long, short))
        assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    kinds = ran(short.path, tmp_path)
    assert kinds == ran(long.path, tmp_path)
    assert set(CASES[case][4]) <= set(kinds)
    assert executed(short, layers=layers) == executed(long, layers=layers)
    assert short.path.stat().st_size < 0.95 * long.path.stat().st_size


def test_keeps_the_names_of_inputs_outputs_nodes_and_weights_and_of_little_else(pair):
    short, long, _, _ = pair("static")
    written, before = onnx.load(short.path).graph, onnx.load(long.path).graph
    assert [value.name for value in (*written.input, *written.output)] == ["x", "y"]
    heavy = [node.name for node in before.node if node.op_type in ("Conv", "Gemm")]
    assert [node.name for node in written.node if node.op_type in ("Conv", "Gemm")] == heavy
    held = {tensor.name for tensor in before.initializer}
    weights = {node.input[0] for node in before.node if node.op_type == "DequantizeLinear"} & held
    kept = {tensor.name for tensor in written.initializer}
    assert weights <= kept
    assert all(len(name) < 5 for name in kept - weights)
    assert all(len(name) < 5 for node in written.node for name in node.output if name != "y")
    assert list(written.value_info) == []


def test_leaves_out_the_zero_points_of_biases_alone(pair):
    written = onnx.load(pair("static")[0].path).graph
    types = {tensor.name: tensor.data_type for tensor in written.initializer}
    unpacked = [node for node in written.node if node.op_type == "DequantizeLinear" and node.input[0] in types]
    given = {types[node.input[0]]: len(node.input) for node in unpacked}
    assert given == {TensorProto.INT32: 2, TensorProto.INT8: 3}


def test_holds_equal_zero_points_once_where_they_are_of_channels(pair):
    written = onnx.load(pair("static")[0].path).graph
    zeros = Counter(
        node.input[2] for node in written.node if node.op_type == "DequantizeLinear" and len(node.input) > 2
    )
    sizes = {tensor.name: tuple(tensor.dims) for tensor in written.initializer}
    assert [sizes[name] for name, count in zeros.items() if count > 1 and sizes[name]] == [(8,)]


def graph_of(nodes, held, *, types=(), inputs=(("x", (2, 3)),), output="y"):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs]
    made = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(np.asarray(values, np.float32), name) for name, values in held.items()]
    graph = helper.make_graph(nodes, "graph", ends, [made], tensors, value_info=types)
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


def test_notes_the_types_of_sums_that_are_normalized_where_their_sizes_have_one_name():
    nodes = [
        helper.make_node("Relu", ["x"], ["left"]),
        helper.make_node("Exp", ["x"], ["right"]),
        helper.make_node("Sin", ["x"], ["other"]),
        helper.make_node("Add", ["left", "right"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "scale"], ["normal"]),
        helper.make_node("Add", ["normal", "other"], ["apart"]),
        helper.make_node("LayerNormalization", ["apart", "scale"], ["y"]),
    ]
    shapes = {"left": "a", "right": "a", "sum": "a", "other": "b", "normal": "c", "apart": "c"}
    types = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, 3]) for name, size in shapes.items()]
    model = graph_of(nodes, {"scale": np.ones(3)}, types=types)
    module.drop_types(model)
    assert {value.name for value in model.graph.value_info} == {"left", "right"}


def test_holds_an_operand_that_is_written_twice_once_but_no_weight_and_no_bias():
    table, matrix, bias = np.arange(6).reshape(2, 3), np.eye(3), np.ones(3)
    nodes = [
        helper.make_node("Add", ["x", "first"], ["a"]),
        helper.make_node("Mul", ["a", "second"], ["b"]),
        helper.make_node("MatMul", ["b", "third"], ["c"], "one"),
        helper.make_node("Add", ["c", "one.bias"], ["d"]),
        helper.make_node("MatMul", ["d", "fourth"], ["e"], "two"),
        helper.make_node("Add", ["e", "two.bias"], ["y"]),
    ]
    held = {"first": table, "second": table, "third": matrix, "fourth": matrix, "one.bias": bias, "two.bias": bias}
    model = graph_of(nodes, held)
    module.compact(model)
    assert {tensor.name for tensor in model.graph.initializer} == {*held} - {"second"}
    assert [item.domain for item in model.opset_import] == [""]


def test_shares_no_zero_point_of_activations():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["a"]),
        helper.make_node("DequantizeLinear", ["a", "scale", "other"], ["y"]),
    ]
    model = graph_of(nodes, {"scale": np.float32(0.1)})
    model.graph.initializer.extend(numpy_helper.from_array(np.array(7, np.uint8), name) for name in ("zero", "other"))
    module.compact(model)
    assert model.graph.node[0].input[2] != model.graph.node[1].input[2]


def test_says_no_attribute_that_is_as_it_would_be_unsaid():
    said = {"dilations": [1, 1], "strides": [2, 1], "pads": [0, 0, 0, 0], "group": 1, "auto_pad": "NOTSET"}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1], **said)]
    model = graph_of(nodes, {"w": np.ones((2, 3, 1, 1))}, inputs=[("x", (1, 3, 4, 4))])
    module.drop_defaults(model)
    assert {item.name for item in model.graph.node[0].attribute} == {"kernel_shape", "strides"}


@given(onnx_graphs.written())
@settings(max_examples=10, deadline=None)
def test_answers_as_before_however_a_graph_was_written(drawn):
    before = onnx_graphs.answers(drawn.model, drawn.rows)
    module.compact(drawn.model)
    assert np.array_equal(onnx_graphs.answers(drawn.model, drawn.rows), before, equal_nan=True)


@given(st.lists(st.sampled_from(("t0", "t1", "t2", "outer", "inner", "made")), min_size=4, max_size=4, unique=True))
@settings(max_examples=10, deadline=None)
def test_renames_what_a_branch_reads_of_the_graph_around_it_and_nothing_that_it_makes_itself(names):
    outer, made, inner, other = names
    branches = {}
    for branch, operation in (("then_branch", "Add"), ("else_branch", "Sub")):
        nodes = [helper.make_node("Neg", [outer], [inner]), helper.make_node(operation, [inner, made], [f"{branch}_y"])]
        ends = [helper.make_tensor_value_info(f"{branch}_y", TensorProto.FLOAT, None)]
        branches[branch] = helper.make_graph(nodes, branch, [], ends)
    nodes = [
        helper.make_node("Exp", ["x"], [outer]),
        helper.make_node("Sin", [outer], [made]),
        helper.make_node("ReduceSum", [made], ["all"], keepdims=0),
        helper.make_node("Cast", ["all"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], [other], **branches),
        helper.make_node("Cos", [other], ["y"]),
    ]
    model = graph_of(nodes, {})
    short = onnx.ModelProto.FromString(model.SerializeToString())
    module.compact(short)
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    before, after = (answers(one.SerializeToString(), x, optimized=False) for one in (model, short))
    assert np.array_equal(before[0], after[0])

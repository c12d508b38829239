"""Graphs that onnxruntime does not open, or that answer one batch size only, are put right, and answer as before."""

import numpy as np
import onnx  # noqa: TID253 - its very subject
import onnxruntime  # noqa: TID253 - its very subject
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.mend import mend, reads


def answers(model, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def flattened(batch, *, form, holder, opset):
    """A convolution, a Reshape with a batch size written into it, and a product, as traced with `batch` rows."""
    random = np.random.default_rng(3)
    sizes = {"all": [batch, 36], "rest": [batch, -1], "split": [batch, 4, 9], "heads": [batch * 4, 9],
             "inner": [batch, 4, -1]}[form]  # fmt: skip
    width = {"all": 36, "rest": 36, "split": 9, "heads": 9, "inner": 9}[form]
    shape = np.array(sizes, np.int64)
    weights = [
        numpy_helper.from_array(random.normal(size=(4, 2, 3, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(random.normal(size=(width, 3)).astype(np.float32), "v"),
    ]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], "conv")]
    if holder == "Constant":
        nodes.append(helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(shape, "s")))
    else:
        weights.append(numpy_helper.from_array(shape, "s"))
    nodes.append(helper.make_node("Reshape", ["c", "s"], ["f"], "flatten"))
    nodes.append(helper.make_node("MatMul", ["f", "v"], ["m"], "head"))
    answer = ["batch", 3] if width == 36 else ["batch", 4, 3]
    if form == "heads":
        weights.append(numpy_helper.from_array(np.array([batch, 4, 3]), "back"))
        nodes.append(helper.make_node("Reshape", ["m", "back"], ["y"], "back"))
    else:
        nodes.append(helper.make_node("Identity", ["m"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, answer)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@settings(max_examples=24)
@given(
    batch=st.integers(1, 5),
    form=st.sampled_from(("all", "rest", "split", "heads", "inner")),
    holder=st.sampled_from(("initializer", "Constant")),
    opset=st.sampled_from((9, 13, 17, 22)),
)
def test_frees_a_batch_that_is_written_into_a_reshape(batch, form, holder, opset):
    model = flattened(batch, form=form, holder=holder, opset=opset)
    x = np.random.default_rng(1).normal(size=(batch, 2, 5, 5)).astype(np.float32)
    traced = answers(model, x)
    mended, notes = mend(model)
    assert len(notes) == 1
    np.testing.assert_array_equal(answers(mended, x), traced)
    several = np.concatenate([x, x[::-1], x])
    np.testing.assert_allclose(
        answers(mended, several), np.concatenate([traced, traced[::-1], traced]), rtol=1e-5, atol=1e-6
    )


def relu(names=("a", "b"), *, opset=17, ir_version=8, shape=("batch", 3)):
    nodes = [helper.make_node("Relu", ["x"], ["r"], names[0]), helper.make_node("Abs", ["r"], ["y"], names[1])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def test_keeps_a_graph_that_needs_nothing():
    model = relu()
    before = model.SerializeToString()
    same, notes = mend(model)
    assert same is model
    assert notes == ()
    assert model.SerializeToString() == before


def test_numbers_nodes_that_have_one_name():
    model, notes = mend(relu(("dense", "dense")))
    assert [node.name for node in model.graph.node] == ["dense", "dense_2"]
    assert notes == ("1 nodes whose names stood before are renamed",)
    assert answers(model, np.float32([[-1, 0, 2]])).tolist() == [[0, 0, 2]]


def normalized(*, listed, ir_version):
    """A convolution and a batch normalization, whose weights are inputs too where `listed`."""
    random = np.random.default_rng(5)
    shapes = {"w": (4, 2, 3, 3), "scale": (4,), "bias": (4,), "mean": (4,), "var": (4,)}
    weights = [numpy_helper.from_array(np.abs(random.normal(size=shape)).astype(np.float32), name)
               for name, shape in shapes.items()]  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size, 5, 5]) for name, size in (("x", 2),)]
    fed = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 3, 3])
    graph = helper.make_graph(nodes, "g", [*(fed if listed else ()), *ends], [answer], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=ir_version)


@pytest.mark.parametrize("ir_version", [3, 8])
def test_takes_weights_out_of_the_inputs_so_that_engines_fold_them(ir_version, tmp_path):
    x = np.random.default_rng(1).normal(size=(2, 2, 5, 5)).astype(np.float32)
    model = normalized(listed=True, ir_version=ir_version)
    before = answers(model, x)
    mended, notes = mend(model)
    assert notes == ("5 weights are no longer inputs too, which kept engines from folding them",)
    assert [value.name for value in mended.graph.input] == ["x"]
    onnx.checker.check_model(mended)
    np.testing.assert_allclose(answers(mended, x), before, rtol=1e-5, atol=1e-6)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(mended.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert "BatchNormalization" not in [node.op_type for node in onnx.load(tmp_path / "folded.onnx").graph.node]


def test_leaves_weights_that_are_no_inputs_alone():
    assert mend(normalized(listed=False, ir_version=8))[1] == ()


def test_leaves_nodes_without_a_name_alone():
    assert mend(relu(("", "")))[1] == ()


def test_brings_a_file_that_is_newer_than_onnxruntime_to_what_it_reads():
    newest_ir, newest = reads()
    if (newest_ir, newest) == (onnx.IR_VERSION, onnx.defs.onnx_opset_version()):
        pytest.skip("this onnxruntime knows all that this onnx does")
    model, notes = mend(relu(opset=onnx.defs.onnx_opset_version(), ir_version=onnx.IR_VERSION))
    assert notes
    assert answers(model, np.float32([[-1, 0, 2]])).tolist() == [[0, 0, 2]]


def test_answers_row_by_row_where_a_batch_of_one_is_not_in_a_reshape():
    weight = numpy_helper.from_array(np.ones((1, 3), np.float32), "w")
    nodes = [helper.make_node("Reshape", ["x", "s"], ["f"]), helper.make_node("Gemm", ["w", "f"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [weight, numpy_helper.from_array(np.array([3, 2]), "s")],
    )
    model, notes = mend(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert notes == ("a batch of one row is written into its nodes: it answers row by row",)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1

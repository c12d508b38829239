"""Which numbers of an ONNX graph are parameters, and where titrant gives no number rather than a wrong one."""

import ml_dtypes
import numpy as np
import onnx  # noqa: TID253 - the tests build tiny graphs
import pytest
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.data.parameters import File
from titrant.runtime.inspect.graph.constants import constants
from titrant.runtime.inspect.graph.parameters import count_parameters, repeated_bytes
from titrant.runtime.inspect.onnx import describe_onnx
from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.facts import DataFacts, TensorSpec

RANDOM = np.random.default_rng(0)
F32 = np.float32


def held(name, shape, dtype=F32, value=None):
    array = RANDOM.normal(size=shape) if value is None else np.full(shape, value)
    return numpy_helper.from_array(np.asarray(array).astype(dtype), name)


def node(operator, given, answer="y", domain="", **settings):
    return helper.make_node(operator, given.split(), answer.split(), domain=domain, **settings)


def constant(name, shape, value=None):
    return helper.make_node("Constant", [], [name], value=held(name, shape, value=value))


def graph(*parts, inputs=(("x", (4, 6)),), answers=("y",)):
    nodes = [part for part in parts if isinstance(part, onnx.NodeProto)]
    tensors = [part for part in parts if isinstance(part, onnx.TensorProto)]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs]
    gives = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in answers]
    return helper.make_graph(nodes, "g", given, gives, tensors)


def counted(made):
    return count_parameters(made, constants(made))


def repeated(made):
    return repeated_bytes(made, constants(made))


THREE = (held("w", (6, 5)), held("b", (5,)), held("s", ()))
# What a graph has, and how many parameters that are.
CASES = {
    "a product and its bias": ([node("MatMul", "x w", "p"), node("Add", "p b"), *THREE], 35),
    "a scalar": ([node("MatMul", "x w", "p"), node("Mul", "p s"), *THREE], 30),
    "what nothing reads": ([node("Relu", "x"), *THREE], 0),
    "a weight read twice": ([node("MatMul", "x w", "p"), node("MatMul", "x w", "q"), node("Add", "p q"), *THREE], 30),
    "a weight that is cut and turned first": (
        [node("Transpose", "v", "w2"), node("MatMul", "x w2"), held("v", (5, 6))], 30,
    ),
    "a weight of a constant node": ([constant("w", (6, 5)), node("MatMul", "x w")], 30),
    "a bias of a constant node": ([constant("b", (5,)), node("MatMul", "x w", "p"), node("Add", "p b"), THREE[0]], 35),
    "prior boxes": ([constant("boxes", (4, 6)), node("Mul", "x boxes")], 0),
    "a learned scale": ([held("scale", (6,)), node("Mul", "x scale")], 6),
    "a normalization": (
        [node("BatchNormalization", "x a b mean var"), *(held(name, (6,)) for name in ("a", "b", "mean", "var"))], 12,
    ),
    "a normalization without weights": (
        [constant("one", (6,), 1), constant("none", (6,), 0), node("InstanceNormalization", "x one none")], 0,
    ),
    "a slope of one number": ([held("slope", (1,)), node("PRelu", "x slope")], 1),
    "a power": ([held("two", (1,), value=2), node("Pow", "x two")], 0),
    "limits": ([held("low", ()), held("high", ()), node("Clip", "x low high")], 0),
    "a shape": ([held("to", (2,), np.int64, 12), node("Reshape", "x to")], 0),
    "a table": ([held("table", (10, 6)), node("Gather", "table i")], 60),
    "a list of places": ([held("places", (10,), np.int64), node("Gather", "places i")], 0),
    "a token that is joined": ([held("token", (1, 6)), node("Concat", "token x", axis=0)], 6),
    "a quantized weight": (
        [
            held("q", (6, 5), np.int8), held("scale", (5,)), held("zero", (5,), np.int8),
            node("DequantizeLinear", "q scale zero", "w", axis=1), node("MatMul", "x w"),
        ],
        30,
    ),
    "scales of a dynamic product": (
        [
            held("q", (6, 5), np.int8), held("scale", (5,)), node("DynamicQuantizeLinear", "x", "xq xs xz"),
            node("MatMulInteger", "xq q xz", "i"), node("Cast", "i", "f", to=1), node("Mul", "xs scale", "both"),
            node("Mul", "f both"),
        ],
        30,
    ),
    "four bits a weight": (
        [
            held("packed", (5, 2, 16), np.uint8), held("scale", (10,)),
            node("MatMulNBits", "x packed scale", domain="com.microsoft", K=64, N=5, bits=4, block_size=32),
        ],
        320,
    ),
    "half precision": ([held("w", (6, 5), np.float16), node("MatMul", "x w")], 30),
    "brain floats": ([held("w", (6, 5), ml_dtypes.bfloat16), node("MatMul", "x w")], 30),
    "a recurrent layer": (
        [
            held("w", (1, 20, 6)), held("r", (1, 20, 5)), held("b", (1, 40)),
            held("h", (1, 1, 5)), held("c", (1, 1, 5)),
            helper.make_node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y"], hidden_size=5),
        ],
        20 * 6 + 20 * 5 + 40,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_counts_parameters_and_nothing_else(name):
    parts, expected = CASES[name]
    assert sum(counted(graph(*parts)).values()) == expected


def test_counts_a_table_that_is_written_again_transposed_once():
    table = held("table", (10, 6))
    again = numpy_helper.from_array(numpy_helper.to_array(table).T.copy(), "again")
    parts = [node("Gather", "table i", "e"), node("MatMul", "e again"), table]
    assert counted(graph(*parts, again)) == {"table": 60}
    assert sum(counted(graph(*parts, held("again", (6, 10)))).values()) == 120


def test_counts_what_the_branches_of_a_node_hold_and_read():
    inside = graph(node("MatMul", "x w", "y"), held("w", (6, 5)), inputs=())
    outside = graph(node("MatMul", "x outer", "y"), inputs=())
    branch = node("If", "c", then_branch=inside, else_branch=outside)
    found = counted(graph(branch, held("outer", (6, 5)), held("unread", (6, 5))))
    assert sum(found.values()) == 60
    assert "outer" in found


# Rows that fit the graphs' input.
DATA = DataFacts("", 4, (), (), None, (TensorSpec("x", ("batch", 6), "float32"),), {})


def saved(path, made, functions=(), domains=(), data=None):
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 1) for name in domains)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=10, functions=functions)
    onnx.save(model, path)
    return describe_onnx(ModelLoadOnnxParams(onnx=File(path=str(path), digest="d")), data)


def test_counts_the_bytes_of_operands_that_repeat_others():
    boxes, other, bias = (held(name, shape, value=1) for name, shape in (("a", (4, 6)), ("b", (4, 6)), ("c", (6,))))
    again = node("Add", "p b"), node("Mul", "x a", "p")
    assert repeated(graph(*again, boxes, other)) == 4 * 24
    assert repeated(graph(*again, boxes, held("b", (4, 6), value=2))) == 0
    assert repeated(graph(*again, boxes, held("b", (6, 4), value=1))) == 0
    assert repeated(graph(node("Mul", "x bias", "p"), node("Add", "p c"), bias, held("bias", (6,), value=1))) == 0
    assert repeated(graph(node("Mul", "x a", "p"), node("MatMul", "p b"), boxes, held("b", (4, 6), value=1))) == 0


def test_lists_a_number_alone_as_no_weight_of_a_layer(tmp_path):
    parts = [node("Div", "x s", "h"), node("PRelu", "h slope"), held("s", ()), held("slope", (1,))]
    found = saved(tmp_path / "m.onnx", graph(*parts))
    assert [(layer.type, layer.parameters, layer.weight_bytes) for layer in found.layers] == [
        ("Div", 0, 0), ("PRelu", 1, 4),
    ]  # fmt: skip
    assert found.weight_bytes == 8


def test_looks_into_a_models_own_functions(tmp_path):
    opsets = [helper.make_opsetid("", 17)]
    body = [node("MatMul", "given weight", "product"), node("Relu", "product", "out")]
    function = helper.make_function("mine", "Layer", ["given", "weight"], ["out"], body, opsets)
    calls = [node("Layer", "x w", "h", domain="mine"), node("Layer", "h v", domain="mine")]
    made = graph(*calls, held("w", (6, 5)), held("v", (5, 3)))
    found = saved(tmp_path / "m.onnx", made, [function], ["mine"])
    assert (found.parameters, found.flops) == (45, 2 * 4 * (6 * 5 + 5 * 3) // 4)
    assert [layer.type for layer in found.layers] == ["MatMul", "Relu", "MatMul", "Relu"]


def test_says_which_nodes_have_flops_that_nobody_knows(tmp_path):
    inside = helper.make_graph(
        [node("MatMul", "state w", "next"), node("Identity", "going", "on")], "body",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in (
            ("time", TensorProto.INT64, ()), ("going", TensorProto.BOOL, ()), ("state", TensorProto.FLOAT, (4, 6)))],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, ()),
         helper.make_tensor_value_info("next", TensorProto.FLOAT, (4, 6))],
    )  # fmt: skip
    made = graph(
        node("Loop", "times going_in x", body=inside), node("MatMul", "x v", "z"), held("w", (6, 6)), held("v", (6, 5)),
        held("times", (), np.int64, 3), held("going_in", (), np.bool_, 1), answers=("y", "z"),
    )  # fmt: skip
    found = saved(tmp_path / "m.onnx", made)
    assert (found.parameters, found.flops) == (66, None)
    assert [layer.flops for layer in found.layers] == [None, 2 * 6 * 5]
    assert any(note.startswith("FLOPs are not known: those of Loop depend on values") for note in found.notes)


def test_follows_sizes_that_the_graph_works_out(tmp_path):
    """As torch expands and pads: a size goes through ConstantOfShape, where shape inference loses it."""
    parts = [
        held("last", (1,), np.int64, 1), held("two", (1,), np.int64, 2), held("rows", (1,), np.int64, 4),
        held("from", (1,), np.int64, 0), held("w", (12, 3)), node("Shape", "x", "size"),
        node("Gather", "size last", "wide"), node("Mul", "wide two", "double"),
        helper.make_node("ConstantOfShape", ["double"], ["row"], value=held("v", (1,), np.int64, 1)),
        node("ReduceSum", "row", "sum", keepdims=1), node("Concat", "rows sum", "to", axis=0),
        node("Slice", "x from last last", "column"), node("Expand", "column to", "wider"), node("MatMul", "wider w"),
    ]  # fmt: skip
    assert saved(tmp_path / "m.onnx", graph(*parts)).flops == 2 * 4 * 12 * 3 // 4


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, ml_dtypes.bfloat16])
def test_refuses_parameters_that_are_nan_and_takes_other_constants_that_are(tmp_path, dtype):
    weights = np.ones((6, 5))
    weights[3, 2] = np.nan
    parts = [node("Cast", "x", "c", to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))), node("MatMul", "c w", "h")]
    parts += [node("Cast", "h", to=TensorProto.FLOAT), numpy_helper.from_array(weights.astype(dtype), "w")]
    with pytest.raises(StepError, match=r"X155: m.onnx: NaN in w \(export it again from weights that trained well"):
        saved(tmp_path / "m.onnx", graph(*parts), data=DATA)
    # A file that is looked at alone, and that onnxruntime opens, is told about, with the figure.
    if np.dtype(dtype).itemsize >= 4:
        assert "1 of the 30 numbers of its weight `w` are NaN" in saved(tmp_path / "m.onnx", graph(*parts)).notes
    parts = [node("IsNaN", "x", "gone"), node("Where", "gone fill x", "y"), held("fill", (1, 6), value=np.nan)]
    assert saved(tmp_path / "m.onnx", graph(*parts)).parameters == 0


@pytest.mark.parametrize("constant_nodes", [False, True])
def test_counts_what_a_file_holds_beside_its_weights(constant_nodes, tmp_path):
    weight = constant("w", (60, 50)) if constant_nodes else held("w", (60, 50))
    bias, sizes = held("b", (50,)), held("to", (2,), np.int64, 50)
    made = graph(weight, node("MatMul", "x w", "p"), node("Reshape", "p to", "q"), node("Add", "q b"), bias, sizes,
                 inputs=[("x", (50, 60))])  # fmt: skip
    path = tmp_path / "model.onnx"
    facts = saved(path, made)
    assert facts.weight_bytes == 4 * (60 * 50 + 50)
    assert abs(facts.weight_bytes + facts.graph_bytes - path.stat().st_size) <= 16  # lengths of what is dropped


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("ranks", [1, 2], ids=["by number", "by place"])
def test_looks_at_sparse_weights_as_at_those_written_out(tmp_path, ranks, broken):
    weight = np.zeros((6, 5), F32)
    weight[[0, 2, 5], [1, 0, 4]] = 1.0, -2.0, np.nan if broken else 3.0
    places = np.argwhere(weight) if ranks == 2 else np.flatnonzero(weight)
    values = numpy_helper.from_array(weight[weight != 0], "w")
    made = graph(node("MatMul", "x w"))
    made.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(places, "places"), weight.shape)
    )
    if broken:
        with pytest.raises(StepError, match=r"X155: m.onnx: NaN in w"):
            saved(tmp_path / "m.onnx", made, data=DATA)
        return
    assert saved(tmp_path / "m.onnx", made, data=DATA).parameters == 30
    assert not constants(made)["w"].uniform()

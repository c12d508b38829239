"""quantize.ort_nbits: weights of 4 and 8 bits in blocks answer nearly as before, at the size that was predicted."""

import numpy as np
import onnx  # noqa: TID253 - its very subject
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper  # noqa: TID253
from onnx_graphs import product

from titrant.runtime.backends.onnxruntime.nbits import Rounding, round_weights
from titrant.runtime.cost.matrices import WeightMatrix
from titrant.runtime.operators.quantize.ort_nbits import OrtNbitsParams, block_bytes
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import PreconditionError, RecipeError


def answer(model, x):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]


def rounded(weight, how, **graph):
    model = product(weight, **graph)
    products = [node.name for node in model.graph.node if node.op_type == "MatMul"]
    round_weights(model, products, ["lookup"] if "table" in graph else [], how)
    return model


def held(model, ending):
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer if ending in tensor.name)


@st.composite
def weights(draw):
    """Draw a matrix: normal, all zero, equal in a block or a column, of one sign, with an outlier, tiny or huge."""
    inputs, outputs = draw(st.sampled_from([64, 100, 128, 130, 257])), draw(st.sampled_from([1, 2, 5]))
    weight = np.random.default_rng(draw(st.integers(0, 9))).normal(size=(inputs, outputs)).astype(np.float32)
    kind = draw(st.sampled_from(["normal", "zero", "block", "column", "positive", "outlier", "tiny", "huge"]))
    if kind == "zero":
        weight[:] = 0
    elif kind == "block":
        weight[:16] = 0.25
    elif kind == "column":
        weight[:, 0] = -0.5
    elif kind == "positive":
        weight = np.abs(weight)
    elif kind == "outlier":
        weight[3, 0] = 1000
    return weight * np.float32({"tiny": 1e-20, "huge": 1e20}.get(kind, 1))


ROUNDINGS = st.builds(
    Rounding,
    bits=st.sampled_from([4, 8]),
    block=st.sampled_from([16, 32, 64, 128, 256]),
    algorithm=st.sampled_from(["rtn", "hqq", "k_quant"]),
    symmetric=st.booleans(),
    accuracy_level=st.just(0),
)


@settings(max_examples=25, deadline=None)
@given(weight=weights(), how=ROUNDINGS)
def test_no_answer_is_further_off_than_rounding_lets_it_be(weight, how):
    model = rounded(weight, how)
    x = np.eye(len(weight), dtype=np.float32)
    unpacked = answer(model, x)
    assert np.isfinite(unpacked).all()
    # Whatever is fitted, and although zero is a whole number, no block loses more than two of its steps on average.
    [block] = {item.i for node in model.graph.node for item in node.attribute if item.name == "block_size"}
    for start in range(0, len(weight), block):
        part = weight[start : start + block].astype(np.float64)
        span = np.maximum(part.max(0), 0) - np.minimum(part.min(0), 0)
        lost = np.abs(unpacked[start : start + block] - part).mean(0)
        assert (lost <= 2 * span / (2**how.bits - 1) + 1e-30).all()


@pytest.mark.parametrize("algorithm", ["hqq", "k_quant"])
def test_a_fitted_rounding_loses_less_than_rounding_to_nearest(algorithm):
    weight = np.random.default_rng(0).standard_t(3, size=(256, 32)).astype(np.float32)
    x = np.eye(256, dtype=np.float32)

    def lost(name):
        error = answer(rounded(weight, Rounding(4, 128, name, False, 0)), x) - weight
        return {"hqq": np.abs(error) ** 0.7, "k_quant": (np.abs(weight) + 1) * error**2}[algorithm].mean()

    assert lost(algorithm) < lost("rtn")


def test_a_weight_that_two_products_read_is_held_once():
    weight = np.random.default_rng(0).normal(size=(128, 16)).astype(np.float32)
    how = Rounding(4, 128, "rtn", False, 4)
    once, twice = rounded(weight, how), rounded(weight, how, readers=2)
    assert held(twice, "w") == held(once, "w") == block_bytes(WeightMatrix(128, 16, True), OrtNbitsParams())
    names = [tensor.name for tensor in twice.graph.initializer]
    assert len(names) == len(set(names))
    x = np.random.default_rng(1).normal(size=(4, 128)).astype(np.float32)
    assert np.allclose(answer(twice, x), 2 * answer(once, x), rtol=1e-5)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("width", [16, 70, 128])
def test_rows_of_a_table_are_looked_up_in_few_bits(bits, width):
    generator = np.random.default_rng(0)
    table = generator.normal(size=(40, width)).astype(np.float32)
    table[3], table[4] = 0, 0.5
    model = rounded(np.eye(width, dtype=np.float32), Rounding(bits, 128, "rtn", False, 0), table=table)
    places = generator.integers(0, 40, size=(5, 3))
    places[0] = [3, 4, 39]
    looked_up = answer(model, places)
    assert {node.op_type for node in model.graph.node} >= {"GatherBlockQuantized"}
    span = np.maximum(table.max(1), 0) - np.minimum(table.min(1), 0)
    assert (np.abs(looked_up - table[places]).max(-1) <= 2 * span[places] / (2**bits - 1)).all()
    assert held(model, "table") == block_bytes(WeightMatrix(width, 40, False), OrtNbitsParams(bits=bits))


@pytest.fixture
def exported(torch_model, rows, apply):
    def make(name, *shape, **args):
        example = rows(*shape)
        return apply("export.onnx", {"model": torch_model(name, *shape, **args), "example": example}).outputs["model"]

    return make


@pytest.mark.parametrize("params", [{}, {"bits": 8}, {"symmetric": True}, {"algorithm": "hqq"}, {"block": 32}])
def test_rewrites_gemm_and_says_how_many_nodes_stay(params, exported, rows, apply, answers):
    plain = exported("Stack", 70, widths=[70, 96, 32, 4])
    done = apply("quantize.ort_nbits", {"model": plain}, params)
    x = rows(70).inputs["x"]
    before, after = answers(plain, x), answers(done.outputs["model"], x)
    assert 0 < np.abs(after - before).max() / np.abs(before).max() < 0.3
    # The last layer has 32 inputs, too few.
    assert done.measurements == {"quantized_nodes": 2, "fp32_nodes": 1}
    operations = [node.op_type for node in onnx.load(done.outputs["model"].path).graph.node]
    assert operations.count("MatMulNBits") == 2


def test_refuses_a_graph_in_which_nothing_has_inputs_enough(exported, apply):
    with pytest.raises(PreconditionError, match=r"X210.*64 inputs"):
        apply("quantize.ort_nbits", {"model": exported("TinyNet", 1, 6, 6)})


def test_refuses_to_leave_out_zero_points_that_are_fitted(exported, apply):
    plain = exported("Stack", 70, widths=[70, 4])
    with pytest.raises(RecipeError, match=r"X231.*symmetric"):
        apply("quantize.ort_nbits", {"model": plain}, {"algorithm": "hqq", "symmetric": True})


def test_leaves_weights_alone_that_no_kernel_takes(apply, tmp_path):
    generator = np.random.default_rng(0)
    weights = {
        "left": generator.normal(size=(3, 64)), "right": generator.normal(size=(64, 64)),
        "broad": generator.normal(size=(2, 64, 5)),
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "right"], ["a"], "one"),
        helper.make_node("MatMul", ["left", "a"], ["b"], "two"),
        helper.make_node("MatMul", ["b", "broad"], ["y"], "three"),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 64, 64])],
        [helper.make_tensor_value_info("y", 1, [2, 3, 5])],
        [numpy_helper.from_array(weight.astype(np.float32), name) for name, weight in weights.items()],
    )  # fmt: skip
    file = tmp_path / "three.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    done = apply("quantize.ort_nbits", {"model": OnnxModel(file)})
    assert done.measurements == {"quantized_nodes": 1, "fp32_nodes": 1}

"""quantize.ort_dynamic and quantize.ort_static: int8 graphs that answer nearly as before."""

import collections

import numpy as np
import pytest

from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import PreconditionError, RecipeError, StepError


@pytest.fixture
def exported(torch_model, rows, apply):
    """Export a model of operator_nets to ONNX."""

    def make(name, *shape, **args):
        return apply("export.onnx", {"model": torch_model(name, *shape, **args), "example": rows(*shape)}).outputs[
            "model"
        ]

    return make


def operations(model):
    import onnx

    return collections.Counter(node.op_type for node in onnx.load(model.path).graph.node)


def relative(first, second):
    return np.abs(first - second).max() / np.abs(second).max()


@pytest.mark.parametrize("params", [{}, {"per_channel": False}, {"weight_type": "uint8"}])
def test_dynamic_answers_nearly_as_before_at_a_quarter_of_the_size(params, exported, rows, apply, answers):
    plain = exported("Stack", 64, widths=[64, 256, 256, 4])
    done = apply("quantize.ort_dynamic", {"model": plain}, params)
    x = rows(64).inputs["x"]
    assert 0 < relative(answers(done.outputs["model"], x), answers(plain, x)) < 0.05
    assert done.outputs["model"].path.stat().st_size < 0.32 * plain.path.stat().st_size
    assert done.measurements == {"quantized_nodes": 3, "fp32_nodes": 0}


def test_dynamic_leaves_convolutions_in_fp32_and_says_so(exported, apply):
    done = apply("quantize.ort_dynamic", {"model": exported("TinyNet", 1, 6, 6)})
    assert done.measurements == {"quantized_nodes": 1, "fp32_nodes": 1}
    assert operations(done.outputs["model"])["Conv"] == 1


@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_answers_nearly_as_before_where_layers_share_a_weight(method, exported, rows, apply, answers):
    plain = exported("Tied", 5)
    inputs = {"calibration": rows(5)} if method == "static" else {}
    done = apply(f"quantize.ort_{method}", {"model": plain, **inputs})
    x = rows(5).inputs["x"]
    assert 0 < relative(answers(done.outputs["model"], x), answers(plain, x)) < 0.05


@pytest.mark.parametrize("method", ["ort_dynamic", "openvino_weights"])
def test_leaves_the_weights_of_a_layer_whole_that_shares_them(method, exported, rows, apply, answers):
    plain = exported("Tied", 5)
    done = apply(f"quantize.{method}", {"model": plain}, {"leave": ("second",)})
    x = np.zeros_like(rows(5).inputs["x"])  # the first layer answers with its bias, which no method rounds here
    assert relative(answers(done.outputs["model"], x), answers(plain, x)) < 1e-6


def test_dynamic_refuses_a_graph_without_products(exported, apply):
    with pytest.raises(PreconditionError, match=r"X210.*MatMul, Gemm or LSTM"):
        apply("quantize.ort_dynamic", {"model": exported("Gridded", 1, 6, 6)})


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"per_channel": False},
        {"activation_type": "int8"},
        {"weight_type": "uint8"},
        {"calibration": "entropy"},
        {"calibration": "percentile", "percentile": 99.9},
        {"batch_size": 7},
    ],
    ids=lambda params: "-".join(map(str, params.values())) or "default",
)
def test_static_answers_nearly_as_before(params, exported, rows, apply, answers):
    plain = exported("TinyNet", 1, 6, 6)
    done = apply("quantize.ort_static", {"model": plain, "calibration": rows(1, 6, 6)}, params)
    x = rows(1, 6, 6).inputs["x"]
    assert 0 < relative(answers(done.outputs["model"], x), answers(plain, x)) < 0.15
    assert done.measurements == {"quantized_nodes": 2}
    assert operations(done.outputs["model"])["QuantizeLinear"] > 0


def test_static_has_a_scale_for_each_channel_only_when_asked(exported, rows, apply):
    import onnx

    plain = exported("TinyNet", 1, 6, 6)

    def weight_scales(per_channel):
        done = apply(
            "quantize.ort_static", {"model": plain, "calibration": rows(1, 6, 6)}, {"per_channel": per_channel}
        )
        graph = onnx.load(done.outputs["model"].path).graph
        scales = {node.input[1] for node in graph.node if node.op_type == "DequantizeLinear"}
        return max(np.prod(one.dims, dtype=int) for one in graph.initializer if one.name in scales)

    assert weight_scales(per_channel=True) == 4
    assert weight_scales(per_channel=False) == 1


def test_static_uses_seven_bits_only_when_asked(exported, rows, apply):
    import onnx

    plain = exported("TinyNet", 1, 6, 6)

    def largest(reduce_range):
        done = apply(
            "quantize.ort_static", {"model": plain, "calibration": rows(1, 6, 6)}, {"reduce_range": reduce_range}
        )
        graph = onnx.load(done.outputs["model"].path).graph
        weights = [onnx.numpy_helper.to_array(one) for one in graph.initializer if one.name.endswith("_quantized")]
        return max(np.abs(one.astype(int)).max() for one in weights if one.dtype == np.int8)

    assert largest(reduce_range=True) <= 64
    assert largest(reduce_range=False) >= 126


def test_static_widens_ranges_with_the_rows_it_sees(exported, rows, apply):
    import onnx

    plain = exported("TinyNet", 1, 6, 6)
    few = rows(1, 6, 6)
    few.inputs["x"][20:] *= 10

    def input_scale(count):
        done = apply("quantize.ort_static", {"model": plain, "calibration": few}, {"rows": count})
        graph = onnx.load(done.outputs["model"].path).graph
        (node,) = (node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "x")
        (scale,) = (onnx.numpy_helper.to_array(one) for one in graph.initializer if one.name == node.input[1])
        return float(scale)

    assert input_scale(40) > 5 * input_scale(20)


def test_static_tells_progress_and_keeps_the_tools_quiet(exported, rows, apply, capfd, caplog):
    heard = []
    plain = exported("TinyNet", 1, 6, 6)
    capfd.readouterr()
    inputs = {"model": plain, "calibration": rows(1, 6, 6)}
    params = {"calibration": "percentile", "batch_size": 16}
    apply("quantize.ort_static", inputs, params, listen=lambda *said: heard.append(said))
    assert [said[0] for said in heard] == [16, 32, 40]
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_static_leaves_one_file_in_its_scratch_and_none_elsewhere(exported, rows, apply, tmp_path, monkeypatch):
    import tempfile

    plain = exported("TinyNet", 1, 6, 6)
    beside = sorted(plain.path.parent.iterdir())
    elsewhere = tmp_path / "system"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    done = apply("quantize.ort_static", {"model": plain, "calibration": rows(1, 6, 6)})
    path = done.outputs["model"].path
    assert [one.name for one in path.parent.iterdir()] == ["model.onnx"]
    assert sorted(plain.path.parent.iterdir()) == beside
    assert list(elsewhere.iterdir()) == []


def test_static_refuses_no_rows_and_rows_of_another_shape(exported, rows, apply):
    plain = exported("TinyNet", 1, 6, 6)
    with pytest.raises(PreconditionError, match=r"X217: 0 calibration rows"):
        apply("quantize.ort_static", {"model": plain, "calibration": rows(1, 6, 6, count=0)})
    with pytest.raises(StepError, match=r"X201.*\(batch, 1, 6, 6\).*\(40, 1, 5, 5\)"):
        apply("quantize.ort_static", {"model": plain, "calibration": rows(1, 5, 5)})


def test_static_refuses_formats_without_kernels(exported, rows, apply):
    with pytest.raises(RecipeError, match=r"X231.*no kernels for int8 activations with uint8 weights"):
        apply(
            "quantize.ort_static",
            {"model": exported("TinyNet", 1, 6, 6), "calibration": rows(1, 6, 6)},
            {"activation_type": "int8", "weight_type": "uint8"},
        )


def test_static_takes_an_old_graph_with_weights_among_its_inputs(rows, apply, answers, tmp_path):
    import onnx

    old = old_graph(tmp_path / "old.onnx", batch="batch")
    done = apply("quantize.ort_static", {"model": old, "calibration": rows(5)})
    assert done.measurements["quantized_nodes"] == 1
    assert [one.name for one in onnx.load(done.outputs["model"].path).graph.input] == ["x"]
    x = rows(5).inputs["x"]
    assert relative(answers(done.outputs["model"], x), answers(old, x)) < 0.05


def test_brings_an_old_graph_to_constant_weights_and_operator_set_13(tmp_path):
    from titrant.runtime.backends.onnxruntime.graph import opset, read, upgraded

    graph = upgraded(read(old_graph(tmp_path / "old.onnx", batch="batch").path))
    assert [one.name for one in graph.graph.input] == ["x"]
    assert {one.name for one in graph.graph.initializer} == {"weight", "bias"}
    assert opset(graph) == 13


def test_static_calibrates_a_fixed_batch_with_whole_batches(rows, apply, tmp_path):
    old = old_graph(tmp_path / "old.onnx", batch=8)
    heard = []
    apply(
        "quantize.ort_static",
        {"model": old, "calibration": rows(5, count=20)},
        listen=lambda *said: heard.append(said),
    )
    assert [said[0] for said in heard] == [8, 16]
    with pytest.raises(PreconditionError, match=r"X217: 7 calibration rows do not fill a batch of 8"):
        apply("quantize.ort_static", {"model": old, "calibration": rows(5, count=7)})


def test_says_that_a_file_is_no_onnx(rows, apply, tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"this is not a graph")
    for name, inputs in (("dynamic", {}), ("static", {"calibration": rows(5)})):
        with pytest.raises(StepError, match=r"X209: broken.onnx is not an ONNX file"):
            apply(f"quantize.ort_{name}", {"model": OnnxModel(path), **inputs})


def old_graph(path, batch):
    """A Gemm as exporters wrote it years ago: operator set 9, weights listed as inputs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    node = helper.make_node("Gemm", ["x", "weight", "bias"], ["y"], name="product")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [batch, 5]), ("weight", [5, 3]), ("bias", [3]))
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])
    weights = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.ones(3, np.float32), "bias")]
    graph = helper.make_graph([node], "old", inputs, [output], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4), path)
    return OnnxModel(path)

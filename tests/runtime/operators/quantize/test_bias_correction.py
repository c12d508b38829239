"""quantize.bias_correction: the mean of every channel is that of the float graph again."""

import numpy as np
import onnx  # noqa: TID253 - its very subject
import pytest
from hypothesis import given, settings
from unequal_nets import LAYERS, PASSED, Net, unequal, write

from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import PreconditionError

STATIC, CORRECTION = "quantize.ort_static", "quantize.bias_correction"


def biased():
    """Write a net whose weights are all rounded down: each a quarter of a step above a number of 8 bits."""
    net = Net(6, unequal=False)
    x = net.node("Relu", [net.conv("x", 3, 8)])
    x = net.node("Relu", [net.conv(x, 8, 8, groups=8)])
    model = net.model(net.end("GlobalAveragePool", x, 8))
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            values = onnx.numpy_helper.to_array(tensor)
            step = np.abs(values).max((1, 2, 3), keepdims=True) / 63
            shifted = (np.floor(values / step * 0.98) + 0.45) * step
            tensor.CopyFrom(onnx.numpy_helper.from_array(shifted.astype(np.float32), tensor.name))
    return model


@pytest.fixture
def corrected(tmp_path, apply, rows):
    """Quantize a net and correct it; returns the files and what was measured."""

    def run(model, params=None, **settings):
        path = tmp_path / f"given{len(list(tmp_path.iterdir()))}.onnx"
        onnx.save(model, str(path))
        calibration = rows(3, 6, 6, count=64)
        plain = OnnxModel(path)
        int8 = apply(STATIC, {"model": plain, "calibration": calibration}, params).outputs["model"]
        done = apply(CORRECTION, {"model": int8, "float": plain, "calibration": calibration}, **settings)
        return plain, int8, done.outputs["model"], done.measurements

    return run


def shift(plain, made, x, answers):
    return np.abs((answers(made, x) - answers(plain, x)).mean(0)).max()


@pytest.mark.parametrize("params", [{}, {"per_channel": False}], ids=["channels", "tensor"])
def test_takes_the_shift_of_the_mean_from_the_answers(params, corrected, answers, rows):
    plain, int8, made, measured = corrected(biased(), params)
    assert (measured["corrected_layers"], measured["left_layers"]) == (3, 0)
    assert measured["largest_shift"] > 0
    x = rows(3, 6, 6, count=64).inputs["x"]
    assert shift(plain, made, x, answers) < 0.3 * shift(plain, int8, x, answers)


def test_gives_a_bias_to_a_layer_without_one_that_its_kernel_takes(corrected, answers, rows, tmp_path):
    from titrant.runtime.backends.onnxruntime.session import load

    model = biased()
    for node in model.graph.node:
        if node.op_type == "Conv":
            del node.input[2]
    plain, int8, made, measured = corrected(model)
    assert measured["corrected_layers"] == 3
    x = rows(3, 6, 6, count=64).inputs["x"]
    assert shift(plain, made, x, answers) < 0.3 * shift(plain, int8, x, answers)
    load(made.path, threads=1, written_to=tmp_path / "run.onnx")
    operations = [node.op_type for node in onnx.load(str(tmp_path / "run.onnx")).graph.node]
    assert operations.count("QLinearConv") == 2
    assert "Conv" not in operations


def test_changes_biases_alone(corrected):
    _, int8, made, _ = corrected(biased())
    before, after = (onnx.load(str(each.path)).graph for each in (int8, made))
    assert [node.SerializeToString() for node in before.node] == [node.SerializeToString() for node in after.node]
    differ = [one.name for one, other in zip(before.initializer, after.initializer, strict=True) if one != other]
    held = {name for node in before.node if node.op_type in ("Conv", "Gemm") for name in node.input[2:]}
    unpacked = {node.input[0] for node in before.node if node.output[0] in held}
    assert set(differ) == unpacked


@given(parts=unequal(between=PASSED, layers=LAYERS))
@settings(max_examples=5, deadline=None)
def test_corrects_any_net_that_can_be_quantized(parts, tmp_path_factory):
    from titrant.runtime.api import apply
    from titrant.runtime.values import Rows

    folder, numbers = tmp_path_factory.mktemp("net"), np.arange(32)
    x = np.random.default_rng(1).normal(size=(32, 3, 6, 6)).astype(np.float32)
    calibration = Rows("calibration", {"x": x}, None, numbers, numbers.astype(np.uint64))
    onnx.save(write(*parts, unequal=False), str(folder / "given.onnx"))
    plain = OnnxModel(folder / "given.onnx")
    (folder / "int8").mkdir()
    int8 = apply(STATIC, {"model": plain, "calibration": calibration}, scratch=folder / "int8").outputs["model"]
    inputs = {"model": int8, "float": plain, "calibration": calibration}
    done = apply(CORRECTION, inputs, scratch=folder)
    assert done.measurements["corrected_layers"] > 0


def test_refuses_no_rows(apply, rows, tmp_path):
    onnx.save(biased(), str(tmp_path / "given.onnx"))
    plain = OnnxModel(tmp_path / "given.onnx")
    int8 = apply(STATIC, {"model": plain, "calibration": rows(3, 6, 6)}).outputs["model"]
    with pytest.raises(PreconditionError, match="X217"):
        apply(CORRECTION, {"model": int8, "float": plain, "calibration": rows(3, 6, 6, count=0)})

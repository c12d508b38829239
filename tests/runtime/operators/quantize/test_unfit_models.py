"""What the onnxruntime methods refuse to quantize, with the layer and the figure; what recurrent layers become."""

import numpy as np
import onnx  # noqa: TID253 - its very subject
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper  # noqa: TID253
from onnx_graphs import product

from titrant.runtime import catalog
from titrant.runtime.inspect.onnx import describe_onnx
from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams
from titrant.runtime.operators.quantize.ort_dynamic import leaves
from titrant.runtime.values import OnnxModel, Rows
from titrant.schema.diagnostics.diagnostics import PreconditionError
from titrant.schema.facts import Hardware, HardwareIdentity, Layer

PACKAGES = {"torch": "2", "onnx": "1", "onnxruntime": "1"}
MACHINE = Hardware(HardwareIdentity("linux", "x86_64", "", (), 2, None, (), "3.11", PACKAGES))
METHODS = ("ort_dynamic", "ort_static", "ort_nbits")


def calibrating(method, width=128):
    """Return the rows that the static method wants beside the model."""
    x = np.random.default_rng(1).normal(size=(32, width)).astype(np.float32)
    places = np.arange(32)
    rows = Rows("calibration", {"x": x}, None, places, places.astype(np.uint64))
    return {"calibration": rows} if method == "ort_static" else {}


@settings(max_examples=12, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    nan=st.integers(0, 3),
    infinite=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_refuses_weights_that_are_not_finite_by_name_and_count(method, nan, infinite, seed, tmp_path_factory):
    from titrant.runtime.api import apply

    folder = tmp_path_factory.mktemp("unfit")
    generator = np.random.default_rng(seed)
    weight = generator.normal(size=(128, 4)).astype(np.float32)
    places = generator.permutation(weight.size)[: nan + infinite]
    weight.reshape(-1)[places[:nan]] = np.nan
    weight.reshape(-1)[places[nan:]] = -np.inf
    onnx.save(product(weight), folder / "model.onnx")
    inputs = {"model": OnnxModel(folder / "model.onnx"), **calibrating(method)}
    if not nan + infinite:
        assert apply(f"quantize.{method}", inputs, scratch=folder).outputs
        return
    with pytest.raises(PreconditionError) as caught:
        apply(f"quantize.{method}", inputs, scratch=folder)
    (refusal,) = caught.value.diagnostics
    assert refusal.code == "X260"
    assert "product0" in refusal.message
    assert (f"{nan} NaN" in refusal.message) == bool(nan)
    assert (f"{infinite} infinite" in refusal.message) == bool(infinite)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """Files of one product made by each method."""
    from titrant.runtime.api import apply

    folder = tmp_path_factory.mktemp("quantized")
    onnx.save(product(np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32)), folder / "model.onnx")
    files = {}
    for method in METHODS:
        inputs = {"model": OnnxModel(folder / "model.onnx"), **calibrating(method)}
        (folder / method).mkdir()
        files[method] = apply(f"quantize.{method}", inputs, scratch=folder / method).outputs["model"]
    return files


@pytest.mark.parametrize("made_by", METHODS)
@pytest.mark.parametrize("method", METHODS)
def test_refuses_what_is_quantized_already_before_and_while_it_runs(made_by, method, quantized, apply):
    model = quantized[made_by]
    facts = describe_onnx(ModelLoadOnnxParams.model_validate({"onnx": {"path": str(model.path), "digest": "d"}}), None)
    declaration = catalog.get(f"quantize.{method}")
    (unmet,) = declaration.requires(declaration.params(), MACHINE, facts)
    assert "1 of its nodes with weights are quantized already" in unmet.cause
    assert "method none" in unmet.remedy
    with pytest.raises(PreconditionError, match="X261"):
        apply(f"quantize.{method}", {"model": model, **calibrating(method)})


@pytest.mark.parametrize("kind", ["LSTM", "bidirectional LSTM", "GRU", "RNN"])
def test_quantizes_the_recurrent_layers_that_have_kernels_and_says_which_have_none(
    kind, torch_model, rows, apply, answers
):
    both, kind = kind.startswith("bi"), kind.split()[-1]
    model = torch_model("LastStep", 7, 24, kind=kind, bidirectional=both)
    plain = apply("export.onnx", {"model": model, "example": rows(7, 24)}).outputs["model"]
    done = apply("quantize.ort_dynamic", {"model": plain})
    x = rows(7, 24).inputs["x"]
    before, after = answers(plain, x), answers(done.outputs["model"], x)
    assert 0 < np.abs(after - before).max() < 0.1 * np.abs(before).max()
    graph = onnx.load(done.outputs["model"].path).graph
    operations = [node.op_type for node in graph.node]
    layer = Layer("r", kind, 100, 400)
    if kind == "LSTM":
        assert operations.count("DynamicQuantizeLSTM") == 2
        assert leaves(layer) == ""
        wide = [numpy_helper.to_array(tensor) for tensor in graph.initializer if len(tensor.dims) == 3]
        assert {array.dtype for array in wide if array.size > 1000} == {np.dtype(np.int8)}
    else:
        assert kind in operations
        assert leaves(layer) == f"onnxruntime has an int8 kernel for LSTM and none for {kind}"

"""An option that an engine would not carry out is refused before anything is made, with the line that mends it."""

import pytest

from titrant.runtime import catalog
from titrant.schema.facts import Hardware, HardwareIdentity, Layer, ModelFacts

PACKAGES = dict.fromkeys(("torch", "onnx", "onnxruntime", "openvino", "nncf"), "1")
LINEAR = Layer("head", "Linear", 4096, 16384, (64, 64), dtype="float32")
LSTM = Layer("memory", "LSTM", 4096, 16384, (256, 64), dtype="float32")


def unmet(operator, *layers, machine="x86_64", **options):
    declared = catalog.get(operator)
    there = Hardware(HardwareIdentity("linux", machine, "", ("avx2",), 2, None, (), "3.11", PACKAGES))
    weights = sum(layer.parameters for layer in layers)
    model = ModelFacts("factory", "", weights, weights, 4 * weights, layers, (), ())
    return [lack.remedy for lack in declared.requires(declared.params(**options), there, model)]


@pytest.mark.parametrize(("machine", "remedies"), [("x86_64", ["write activation_type: uint8"]), ("aarch64", [])])
def test_takes_int8_activations_where_kernels_do(machine, remedies):
    """On x86 a residual network of int8 activations ran two of its convolutions in fp32."""
    assert unmet("quantize.ort_static", LINEAR, machine=machine, activation_type="int8") == remedies
    assert unmet("quantize.ort_static", LINEAR, machine=machine) == []


def test_takes_an_lstm_alone_and_with_either_preset():
    assert unmet("quantize.openvino_ptq", LSTM) == []
    assert unmet("quantize.openvino_ptq", LINEAR, LSTM, preset="mixed") == []


@pytest.mark.parametrize("before", ["Linear", "LayerNorm", "RMSNorm", "BatchNorm1d"])
def test_smooths_where_something_can_take_the_range(before):
    taking = Layer("before", before, 64, 256, (64, 64) if before == "Linear" else (64,), dtype="float32")
    assert unmet("quantize.smoothquant", taking, LINEAR) == []
    assert unmet("quantize.smoothquant", LSTM, LINEAR) == ["use ort.static"]

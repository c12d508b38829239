"""quantize.torch_dynamic: linear layers in int8, everything else as it was."""

import numpy as np
import pytest

from titrant.runtime import catalog
from titrant.schema.diagnostics.diagnostics import PreconditionError
from titrant.schema.facts import Hardware, HardwareIdentity, Layer, ModelFacts

MACHINE = Hardware(HardwareIdentity("linux", "x86_64", "", (), 1, None, (), "3.11", {"torch": "2"}))


@pytest.mark.parametrize("per_channel", [True, False])
def test_answers_nearly_as_before_at_a_quarter_of_the_size(per_channel, torch_model, rows, apply, answers):
    model = torch_model("Stack", 64, widths=[64, 256, 256, 4])
    plain = apply("export.torchscript", {"model": model, "example": rows(64)}).outputs["model"]
    done = apply("quantize.torch_dynamic", {"model": model, "example": rows(64)}, {"per_channel": per_channel})
    small = done.outputs["model"]
    x = rows(64).inputs["x"]
    scale = np.abs(answers(plain, x)).max()
    difference = np.abs(answers(small, x) - answers(plain, x)).max()
    assert 0 < difference < 0.05 * scale
    assert small.path.stat().st_size < 0.32 * plain.path.stat().st_size
    assert done.measurements == {"quantized_layers": 3, "fp32_layers": 0}


def test_counts_the_layers_that_it_leaves(torch_model, rows, apply):
    inputs = {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)}
    assert apply("quantize.torch_dynamic", inputs).measurements == {"quantized_layers": 1, "fp32_layers": 1}


@pytest.mark.parametrize(
    ("net", "options", "layers"),
    [
        ("Recurrent", {"kind": "LSTM"}, 3),
        ("Recurrent", {"kind": "GRU", "num_layers": 2, "bidirectional": True}, 3),
        ("Recurrent", {"kind": "GRU", "width": 256}, 3),
        (
            "Stepping",
            {"kind": "LSTMCell"},
            2,
        ),  # torch has no kernel for an embedding by three axes
        ("Stepping", {"kind": "GRUCell"}, 2),
        ("Stepping", {"kind": "RNNCell"}, 2),
    ],
)
def test_quantizes_recurrent_layers_and_embeddings(*, net, options, layers, torch_model, rows, apply, answers):
    from titrant.runtime.inspect.torch import list_layers, model_bytes

    model, given = torch_model(net, 4, **options), rows(4)
    plain, x = apply("export.torchscript", {"model": model, "example": given}).outputs["model"], given.inputs["x"]
    original = answers(plain, x)
    facts = ModelFacts("factory", "", 0, 0, model_bytes(model.module), list_layers(model.module, {}), (), ())
    declaration = catalog.get("quantize.torch_dynamic")
    for per_channel in (True, False):
        done = apply("quantize.torch_dynamic", {"model": model, "example": given}, {"per_channel": per_channel})
        small = done.outputs["model"]
        assert 0 < np.abs(answers(small, x) - original).max() < 0.05 * np.abs(original).max(), per_channel
        assert done.measurements == {"quantized_layers": layers, "fp32_layers": 3 - layers}, per_channel
        predicted = declaration.predict(declaration.params(per_channel=per_channel), MACHINE, facts).output_bytes
        size = small.path.stat().st_size
        assert abs(predicted - size) < max(0.03 * size, 6 << 10), per_channel


@pytest.mark.parametrize("options", [{"bias": False}, {"proj_size": 8}, {"kind": "RNN"}])
def test_leaves_recurrent_layers_that_torch_has_no_kernels_for(options, torch_model, rows, apply):
    inputs = {"model": torch_model("Recurrent", 4, **options), "example": rows(4)}
    assert apply("quantize.torch_dynamic", inputs).measurements == {"quantized_layers": 2, "fp32_layers": 1}


def test_quantizes_a_head_and_the_embedding_that_it_is_tied_to(torch_model, rows, apply, answers):
    model, x = torch_model("TiedLookup", 7), rows(7).inputs["x"]
    done = apply("quantize.torch_dynamic", {"model": model, "example": rows(7)})
    assert done.measurements == {"quantized_layers": 3, "fp32_layers": 0}
    original = answers(model, x)
    assert np.abs(answers(done.outputs["model"], x) - original).max() < 0.05 * np.abs(original).max()


def test_refuses_weights_that_are_not_finite(torch_model, rows, apply):
    model = torch_model("Recurrent", 4)
    model.module.layer.weight_hh_l0.data[0, 0] = float("inf")
    with pytest.raises(PreconditionError, match=r"X290: 1 of the 22528 weights of layer are NaN or infinite"):
        apply("quantize.torch_dynamic", {"model": model, "example": rows(4)})


def test_quantizes_a_model_that_is_one_linear_layer(torch_model, rows, apply):
    model = torch_model("alone", 5)
    assert apply("quantize.torch_dynamic", {"model": model, "example": rows(5)}).measurements["quantized_layers"] == 1


def test_leaves_the_projections_that_attention_reads_itself(torch_model, rows, apply):
    inputs = {"model": torch_model("Attending", 3, 8), "example": rows(3, 8)}
    assert apply("quantize.torch_dynamic", inputs).measurements["quantized_layers"] == 1


def test_leaves_the_given_model_as_it_was(torch_model, rows, apply):
    import torch

    model = torch_model("Stack", 5, widths=[5, 2])
    apply("quantize.torch_dynamic", {"model": model, "example": rows(5)})
    assert type(model.module.layers[0]) is torch.nn.Linear


def test_refuses_a_model_without_linear_layers(torch_model, rows, apply):
    with pytest.raises(PreconditionError, match=r"X210.*convolutions stay as they are.*ort.static"):
        apply("quantize.torch_dynamic", {"model": torch_model("Gridded", 1, 6, 6), "example": rows(1, 6, 6)})


def test_requires_a_linear_layer_already_in_the_plan():
    layers = (Layer("conv", "Conv2d", 36, 144, (4, 1, 3, 3)),)
    model = ModelFacts("factory", "", 36, 36, 144, layers, (), ())
    declaration = catalog.get("quantize.torch_dynamic")
    (lack,) = declaration.requires(declaration.params(), MACHINE, model)
    assert "LSTM, GRU and embeddings only" in lack.cause

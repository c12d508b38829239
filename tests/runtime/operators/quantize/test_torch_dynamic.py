"""quantize.torch_dynamic: linear layers in int8, everything else as it was."""

import numpy as np
import pytest

from titrant.runtime import catalog
from titrant.schema.diagnostics.diagnostics import PreconditionError
from titrant.schema.facts import Hardware, HardwareIdentity, Layer, ModelFacts


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
    machine = Hardware(HardwareIdentity("linux", "x86_64", "", (), 1, None, (), "3.11", {"torch": "2"}))
    declaration = catalog.get("quantize.torch_dynamic")
    (lack,) = declaration.requires(declaration.params(), machine, model)
    assert "linear layers only" in lack.cause

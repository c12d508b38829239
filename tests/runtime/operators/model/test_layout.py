"""model.layout: convolutions lie channels last in the module, in every file that torch makes of it, and once loaded."""

import numpy as np
import pytest

from titrant.runtime.backends import backend, kinds
from titrant.schema.diagnostics.diagnostics import PreconditionError

IMAGES = np.random.default_rng(0).normal(size=(5, 3, 6, 6)).astype(np.float32)


@pytest.fixture
def laid_out(torch_model, apply):
    return apply("model.layout", {"model": torch_model("Filters", 3, 6, 6)}).outputs["model"]


def layouts(model):
    layers = backend.get(backend.engines_of(model.kind)[0]).executed(model)
    return [layer.layout for layer in layers if "conv" in layer.engine_op.lower()]


def test_lays_out_convolutions_and_leaves_the_model_that_it_is_given(torch_model, apply):
    model = torch_model("Filters", 3, 6, 6)
    done = apply("model.layout", {"model": model})
    strides = {name: weight.stride() for name, weight in done.outputs["model"].module.state_dict().items()}
    assert strides["first.weight"] == (27, 1, 9, 3)
    assert strides["narrow.weight"] == (8, 1, 8, 8)
    assert strides["apart.weight"] == (9, 1, 3, 1)
    assert strides["table"] == (16, 4, 2, 1)
    assert done.measurements["laid_out_bytes"] == 4 * (8 * 3 * 9 + 8 * 8 + 8 * 9)
    assert model.module.first.weight.is_contiguous()
    assert layouts(model) == ["", "", ""]


@pytest.fixture(params=[None, "export.torchscript", "export.exported"])
def model(request, laid_out, apply, rows):
    if request.param is None:
        return laid_out
    return apply(request.param, {"model": laid_out, "example": rows(3, 6, 6, count=5, x=IMAGES)}).outputs["model"]


def test_keeps_it_in_files_that_are_loaded_again(model, answers, tmp_path, torch_model):
    kinds.save(model.kind, model, tmp_path)
    loaded = kinds.load(model.kind, tmp_path)
    assert layouts(loaded) == ["channels_last"] * 3
    np.testing.assert_array_equal(answers(loaded, IMAGES), answers(model, IMAGES))
    contiguous = torch_model("Filters", 3, 6, 6)
    np.testing.assert_allclose(answers(loaded, IMAGES), answers(contiguous, IMAGES), rtol=1e-4, atol=1e-6)


def test_lies_so_after_other_operators_too(laid_out, apply, answers):
    cast = apply("model.cast", {"model": laid_out}, {"emulated": True}).outputs["model"]
    assert layouts(kinds.as_loaded("torch", cast)) == ["channels_last"] * 3


def test_holds_weights_that_are_computed_first(torch_model, apply):
    model = apply("model.layout", {"model": torch_model("Normalized", 3, 6, 6)}).outputs["model"]
    assert layouts(model) == ["channels_last"]


def test_refuses_a_module_without_convolutions(torch_model, apply):
    with pytest.raises(PreconditionError, match="X629"):
        apply("model.layout", {"model": torch_model("Stack", 5, widths=[5, 2])})


def test_finds_a_layer_that_does_not_lie_as_planned(torch_model, laid_out, apply):
    params = {"engine": "torch", "layers": ("first",), "planned": ("fp32",), "laid_out": ("first",)}
    for model, executed in ((torch_model("Filters", 3, 6, 6), "contiguous"), (laid_out, "channels_last")):
        rows = apply("validate.executed", {"model": model}, params).outputs["executed"]["layers"]
        (row,) = [row for row in rows if row["name"] == "first"]
        assert (row["planned"], row["executed"]) == ("fp32, channels_last", f"fp32, {executed}")


def test_says_what_memory_weights_held_before_they_were_laid_out(apply):
    shape = {"name": "x", "shape": ["batch", 8]}
    params = {"factory": "operator_nets:Parts", "inputs": [shape], "outputs": [{"name": "logits"}]}
    done = apply("model.load", {}, params)
    first, second, third = (part.weight for part in done.outputs["model"].module.children())
    assert (done.measurements["storage_bytes_built"], done.measurements["storage_bytes"]) == (4000, 2 * 4 * 64)
    assert first.data_ptr() == third.data_ptr() != second.data_ptr()
    assert second.is_contiguous()
    plain = apply("model.load", {}, {**params, "factory": "operator_nets:Filters"})
    assert "storage_bytes" not in plain.measurements

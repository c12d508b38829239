"""model.fold: weights that are computed from others are held, and answer the same."""

import numpy as np
import pytest

NORMS = ("weight_norm", "weight_norm before", "spectral_norm", "spectral_norm before", "orthogonal")


@pytest.mark.parametrize("norm", NORMS)
def test_answers_as_before_from_weights_that_it_holds(norm, torch_model, apply, answers, tmp_path):
    from titrant.runtime.backends.torch.module import load_torch, save_torch

    model = torch_model("Normed", 5, norm=norm)
    x = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    done = apply("model.fold", {"model": model})
    folded = done.outputs["model"]
    assert done.measurements["folded_layers"] == 2
    assert [name for name, _ in folded.module.named_parameters()] == [
        f"{layer}.{part}" for layer in ("first", "second") for part in folded.module.first._parameters
    ]
    np.testing.assert_allclose(answers(folded, x), answers(model, x), atol=1e-5)
    save_torch(folded, tmp_path)
    assert np.array_equal(answers(load_torch(tmp_path / "model.safetensors"), x), answers(folded, x))


def test_leaves_a_module_that_computes_none_of_its_weights(torch_model, apply):
    model = torch_model("Stack", 5, widths=[5, 2])
    done = apply("model.fold", {"model": model})
    assert done.outputs["model"] is model
    assert done.measurements["folded_layers"] == 0


def test_counts_what_weights_are_made_of_as_their_layers(torch_model):
    from titrant.runtime.inspect.torch import list_layers, model_bytes

    for norm in NORMS:
        module = torch_model("Normed", 5, norm=norm).module
        layers = list_layers(module, {})
        assert [(layer.name, layer.type) for layer in layers] == [("first", "Linear"), ("second", "Linear")], norm
        assert sum(layer.weight_bytes for layer in layers) == model_bytes(module)
        assert sum(layer.parameters for layer in layers) == sum(value.numel() for value in module.parameters())

"""quantize.smoothquant: the paper's formula, exact in fp32, and int8 that keeps what outlier channels would cost."""

import numpy as np
import pytest
import torch  # noqa: TID253 - what is tested is arithmetic of tensors
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.backends.torch.quantized.readers import shared_inputs
from titrant.runtime.backends.torch.quantized.smoothing import LEAST, MOST, scales
from titrant.schema.diagnostics.diagnostics import PreconditionError

OUTLIERS = (3, 17)


@pytest.fixture
def outlying(torch_model):
    """An encoder two of whose normalized channels are 60 times as large as others; it answers as without them."""

    def make(name="PreNorm", *shape, **args):
        model = torch_model(name, *(shape or (6, 32)), **args)
        with torch.no_grad():
            for norm, readers in (("norm1", ("query", "key", "value")), ("norm2", ("up",))):
                layer = model.module.get_submodule(norm)
                for tensor in (layer.weight, layer.bias):
                    tensor[list(OUTLIERS)] *= 60
                for reader in readers:
                    model.module.get_submodule(reader).weight[:, list(OUTLIERS)] /= 60
        return model

    return make


def smoothed(apply, rows, model, *shape, **params):
    return apply("quantize.smoothquant", {"model": model, "calibration": rows(*shape, count=64)}, params)


magnitudes = st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4)


@given(inputs=magnitudes, weights=magnitudes, alpha=st.floats(0, 1))
def test_takes_the_scale_of_the_paper(inputs, weights, alpha):
    got = scales(torch.tensor(inputs), torch.tensor(weights), alpha)
    expected = np.float32(inputs).astype(float) ** alpha / np.float32(weights).astype(float) ** (1 - alpha)
    np.testing.assert_allclose(got.numpy(), np.clip(expected, LEAST, MOST), rtol=1e-5)


@given(alpha=st.floats(0, 1), side=st.booleans())
def test_leaves_a_channel_alone_that_carries_nothing(alpha, side):
    some, none = torch.tensor([2.0, 3.0]), torch.tensor([2.0, 0.0])
    assert scales(*((some, none) if side else (none, some)), alpha)[1] == 1


def test_balances_input_and_weight_channel_by_channel(outlying, rows, apply):
    """At α = .5 both sides of a product get equal largest magnitudes (the paper's reading of its formula)."""
    model = outlying()
    made = smoothed(apply, rows, model, 6, 32).outputs["model"]
    seen = {}
    hook = made.module.query.register_forward_pre_hook(lambda _, given: seen.update(x=given[0]))
    with torch.no_grad():
        made.module(torch.from_numpy(rows(6, 32, count=64).inputs["x"]))
    hook.remove()
    inputs = seen["x"].abs().reshape(-1, 32).amax(0)
    readers = (made.module.query, made.module.key, made.module.value)
    weights = torch.stack([reader.weight.detach().abs().amax(0) for reader in readers]).amax(0)
    np.testing.assert_allclose(inputs, weights, rtol=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.8, 1.0, "auto"])
def test_answers_as_the_original_and_leaves_it_as_it_was(alpha, outlying, rows, apply, answers):
    model = outlying()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    done = smoothed(apply, rows, model, 6, 32, alpha=alpha)
    x = rows(6, 32, count=20).inputs["x"]
    original = answers(model, x)
    np.testing.assert_allclose(answers(done.outputs["model"], x), original, atol=2e-5 * np.abs(original).max())
    assert all(torch.equal(before[name], value) for name, value in model.module.state_dict().items())
    assert done.measurements["smoothed_layers"] == 5  # query, key, value; up; down, behind a ReLU
    assert done.measurements["left_layers"] == 2  # attention's output, and the head, which reads a mean


@pytest.mark.parametrize("alpha", [0.5, "auto"])
def test_keeps_in_int8_what_outlier_channels_would_cost(alpha, outlying, rows, apply, answers):
    """Per tensor int8 of outlying activations loses; smoothed first it does not."""
    model, given = outlying(), rows(6, 32, count=64)
    x = given.inputs["x"]

    def error(module):
        file = apply("export.onnx", {"model": module, "example": given}).outputs["model"]
        made = apply("quantize.ort_static", {"model": file, "calibration": given}, {"reduce_range": False})
        original = answers(model, x)
        return np.linalg.norm(answers(made.outputs["model"], x) - original) / np.linalg.norm(original)

    plain, after = error(model), error(smoothed(apply, rows, model, 6, 32, alpha=alpha).outputs["model"])
    assert after < 0.4 * plain


@pytest.mark.parametrize(
    ("net", "shape", "layers", "left"),
    [
        ("Stack", (5,), 2, 1),  # behind ReLUs; the first reads the rows themselves
        ("Encoder", (3, 8), 1, 2),  # behind a ReLU; its norms are added to something else too
        ("NormedRows", (5,), 2, 1),  # batch normalization, and one behind GELU, which lets no scale through
    ],
)
def test_smooths_what_has_somewhere_for_the_scale_to_go(*, net, shape, layers, left, torch_model, rows, apply, answers):
    model = torch_model(net, *shape, **({"widths": [5, 8, 8, 2]} if net == "Stack" else {}))
    done = smoothed(apply, rows, model, *shape)
    assert (done.measurements["smoothed_layers"], done.measurements["left_layers"]) == (layers, left)
    x = rows(*shape).inputs["x"]
    np.testing.assert_allclose(answers(done.outputs["model"], x), answers(model, x), atol=1e-5)


@pytest.mark.parametrize(
    ("net", "shape", "why"),
    [
        ("Gridded", (1, 6, 6), "X210: the model has no torch.nn.Linear"),
        ("TinyNet", (1, 6, 6), r"X291: no linear layer.*linear: no layer norm, RMS norm, batch norm or linear layer"),
        ("Attending", (3, 8), r"X291: no linear layer.*head: no layer norm"),
        ("Deciding", (5,), "X206"),
    ],
)
def test_says_why_nothing_can_be_smoothed(*, net, shape, why, torch_model, rows, apply):
    with pytest.raises(PreconditionError, match=why):
        smoothed(apply, rows, torch_model(net, *shape), *shape)


@pytest.mark.parametrize("net", ["Tied", "Twice", "SharedSquare"])
def test_leaves_weights_that_are_shared(net, torch_model, rows, apply, answers):
    size = 256 if net == "SharedSquare" else 5
    model = torch_model(net, size)
    with pytest.raises(PreconditionError, match="X291"):
        smoothed(apply, rows, model, size)


def test_refuses_weights_that_are_not_finite(torch_model, rows, apply):
    model = torch_model("Stack", 5, widths=[5, 8, 2])
    model.module.layers[0].weight.data[0, 0] = float("nan")
    with pytest.raises(PreconditionError, match=r"X290: 1 of the 40 weights of layers\.0"):
        smoothed(apply, rows, model, 5)


def test_smooths_a_model_with_channels_that_never_change(torch_model, rows, apply, answers):
    model, x = torch_model("PreNorm", 6, 32), rows(6, 32, count=64).inputs["x"]
    with torch.no_grad():
        for tensor in (model.module.norm1.weight, model.module.norm1.bias, model.module.norm2.weight):
            tensor[5] = 0
        model.module.up.weight[:, 7] = 0
    made = smoothed(apply, rows, model, 6, 32).outputs["model"]
    assert all(bool(value.isfinite().all()) for value in made.module.state_dict().values())
    np.testing.assert_allclose(answers(made, x), answers(model, x), atol=1e-5)


def test_finds_who_makes_and_who_reads_an_input(torch_model):
    model = torch_model("PreNorm", 6, 32)
    every = shared_inputs(model.module, {"x": torch.zeros(2, 6, 32)})
    by_first = {group.layers[0]: (group.maker, tuple(group.layers), group.others) for group in every}
    assert by_first["query"] == ("norm1", ("query", "key", "value"), 0)
    assert by_first["up"] == ("norm2", ("up",), 0)
    assert by_first["down"] == ("up", ("down",), 0)
    assert by_first["head"][0] == ""

"""`titrant.debug.gradients` says of a live model which layers do not learn, and changes nothing."""

import math

import pytest
import torch  # noqa: TID253 - the tests build tiny models
from hypothesis import given, settings
from hypothesis import strategies as st

import titrant

LAYERS = st.lists(st.sampled_from([0.0, 1e-12, 1e-9, 1e-3, 1.0, 900.0, 1e5, 1e25, math.inf, math.nan]), max_size=4)


def net(values, dtype=torch.float32):
    """Return a model of layers with one bias each, whose gradients are given."""
    layers = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in values).to(dtype)
    for layer, value in zip(layers, values, strict=True):
        layer.weight.grad = torch.full_like(layer.weight, value)
        layer.bias.grad = torch.zeros_like(layer.bias)
    return layers


@settings(max_examples=60)
@given(LAYERS.filter(len), st.sampled_from([1e-8, 1e-4]), st.sampled_from([1e3, 10.0]))
def test_tells_every_layer_beyond_a_limit(values, vanishing, exploding):
    report = titrant.debug.gradients(net(values), limits={"vanishing": vanishing, "exploding": exploding})
    assert report.vanishing == tuple(str(at) for at, value in enumerate(values) if value < vanishing)
    assert report.exploding == tuple(str(at) for at, value in enumerate(values) if value > exploding)
    assert report.not_finite == tuple(f"{at}.weight" for at, value in enumerate(values) if not math.isfinite(value))
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) == len(values):
        assert report.global_norm == pytest.approx(math.sqrt(sum(value * value for value in values)), rel=1e-5)


def test_measures_the_norm_of_a_layer_over_its_own_parameters():
    layer = torch.nn.Sequential(torch.nn.Linear(1, 1))
    layer[0].weight.grad, layer[0].bias.grad = torch.tensor([[3.0]]), torch.tensor([4.0])
    assert titrant.debug.gradients(layer).layers == {"0": 5.0}


def test_leaves_out_frozen_layers_and_those_that_were_not_reached():
    layers = net([1e-12, 1.0, 1e-12])
    layers[0].requires_grad_(requires_grad=False)
    layers[2].weight.grad = layers[2].bias.grad = None
    assert titrant.debug.gradients(layers).layers == {"1": 1.0}


def test_watches_what_a_pattern_picks():
    assert list(titrant.debug.gradients(net([1.0, 2.0, 3.0]), pattern="[12].*").layers) == ["1", "2"]
    with pytest.raises(ValueError, match="named like 'head"):
        titrant.debug.gradients(net([1.0]), pattern="head.*")


@pytest.mark.parametrize("limits", [{"largest": 1.0}, {"vanishing": 0.0}, {"exploding": -1.0}, {"exploding": "a"}])
def test_refuses_other_limits(limits):
    with pytest.raises(ValueError, match="limits are"):
        titrant.debug.gradients(net([1.0]), limits=limits)


def test_says_that_there_are_no_gradients_before_a_backward_pass():
    with pytest.raises(ValueError, match=r"no parameter of the model has a gradient: call backward\(\) on the loss"):
        titrant.debug.gradients(torch.nn.Linear(2, 2))


def test_refuses_what_has_no_gradients():
    with pytest.raises(ValueError, match=r"a int has no gradients to measure: give a torch\.nn\.Module"):
        titrant.debug.gradients(3)


def test_reads_scaled_gradients_as_they_are_without_the_scaler():
    layers = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False))
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(layers(torch.tensor([[2.0]])).sum()).backward()
    assert layers[0].weight.grad.item() == 2048.0
    for given_optimizer in (None, optimizer):
        report = titrant.debug.gradients(layers, scaler=scaler, optimizer=given_optimizer)
        assert report.layers == {"0": 2.0}
    assert layers[0].weight.grad.item() == 2048.0
    scaler.unscale_(optimizer)
    for given_optimizer in (None, optimizer):
        assert titrant.debug.gradients(layers, scaler=scaler, optimizer=given_optimizer).layers == {"0": 2.0}
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    scaler.scale(layers(torch.tensor([[2.0]])).sum()).backward()
    assert titrant.debug.gradients(layers, scaler=scaler).layers == {"0": 2.0}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_measures_in_single_precision_at_least(dtype):
    value = 6e4 if dtype is torch.float16 else 1e20
    layers = net([value, value], dtype)
    assert titrant.debug.gradients(layers).not_finite == ()
    assert titrant.debug.gradients(layers).global_norm == pytest.approx(math.sqrt(2) * value, rel=0.01)


def test_measures_sparse_gradients():
    layers = torch.nn.Sequential(torch.nn.Embedding(4, 1, sparse=True))
    layers(torch.tensor([1, 1])).sum().backward()
    assert titrant.debug.gradients(layers).layers == {"0": 2.0}


@pytest.mark.parametrize(
    ("values", "line"),
    [([1e5], "gradient_clip"), ([20.0], "gradient_clip"), ([1e-12], "standardize"), ([math.nan], "rate")],
)
def test_names_the_line_that_helps(values, line):
    assert any(line in text for text in titrant.debug.gradients(net(values)).advice)


def test_has_no_advice_where_nothing_is_wrong():
    report = titrant.debug.gradients(net([1.0, 0.1]))
    assert (report.advice, report.vanishing, report.exploding, report.not_finite) == ((), (), (), ())

"""Activation memory of a training step: predicted from what autograd would keep, and counted while it runs."""

import random

import pytest
import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253

import titrant

ROWS, WIDTH = 64, 32
ONE = ROWS * WIDTH * 4  # bytes of one activation


def block():
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh())


def encoder(layers=6):
    layer = nn.TransformerEncoderLayer(16, 2, 64, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


CASES = {
    "blocks": (lambda: nn.Sequential(*(block() for _ in range(6))), lambda: torch.randn(ROWS, WIDTH)),
    "encoder": (encoder, lambda: (torch.randn(4, 16, 16),)),
    "chain": (lambda: nn.Sequential(*(part for _ in range(8) for part in block())), lambda: torch.randn(ROWS, WIDTH)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_predicts_the_peak_that_is_measured(case, ratio):
    model, inputs = CASES[case][0](), CASES[case][1]()
    predicted = titrant.estimate_memory_savings(model, inputs, ratio)
    before = titrant.measure_activation_memory(model, inputs)
    assert titrant.apply_gradient_checkpointing(model, ratio) == predicted.layers
    after = titrant.measure_activation_memory(model, inputs)
    assert after.peak_bytes < before.peak_bytes
    assert predicted.peak_bytes_before == pytest.approx(before.peak_bytes, rel=0.1)
    assert predicted.peak_bytes == pytest.approx(after.peak_bytes, rel=0.1)
    assert predicted.saved_bytes == pytest.approx(before.peak_bytes - after.peak_bytes, rel=0.1)
    assert 0 < predicted.seconds_lost < predicted.seconds_before
    # Asked of a model whose layers are recomputed already, it is the same question.
    again = titrant.estimate_memory_savings(model, inputs, ratio)
    assert (again.peak_bytes_before, again.peak_bytes) == (predicted.peak_bytes_before, predicted.peak_bytes)


def test_halves_a_transformer_of_twelve_layers_by_more_than_a_third():
    model, inputs = encoder(12), torch.randn(4, 16, 16)
    before = titrant.measure_activation_memory(model, inputs).peak_bytes
    predicted = titrant.estimate_memory_savings(model, inputs, 0.5)
    titrant.apply_gradient_checkpointing(model, 0.5)
    measured = 1 - titrant.measure_activation_memory(model, inputs).peak_bytes / before
    assert measured >= 0.35
    assert predicted.saved == pytest.approx(measured, rel=0.1)


def test_counts_what_autograd_keeps_once():
    chain = nn.Sequential(*(nn.Tanh() for _ in range(5)))
    measured = titrant.measure_activation_memory(chain, torch.randn(ROWS, WIDTH, requires_grad=True))
    # Each answer is kept once, though it is also the next one's input; a gradient comes in and one goes out.
    assert 5 * ONE <= measured.peak_bytes <= 7 * ONE + 64


def test_leaves_everything_as_it_was():
    model = nn.Sequential(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Dropout()), block())
    model[0][0].weight.grad = torch.ones(WIDTH, WIDTH)
    gradient, state = model[0][0].weight.grad, {name: value.clone() for name, value in model.state_dict().items()}
    random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), torch.rand(1)
    random.seed(1)
    torch.manual_seed(1)
    titrant.estimate_memory_savings(model, torch.randn(ROWS, WIDTH, generator=torch.Generator()), 1)
    titrant.measure_activation_memory(model, {"input": torch.randn(ROWS, WIDTH, generator=torch.Generator())})
    assert (random.random(), torch.rand(1)) == expected
    assert model[0][0].weight.grad is gradient
    assert model[1][0].weight.grad is None
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_never_has_a_backward_pass_through_what_was_only_observed():
    with pytest.raises(ValueError, match="from 0 to 1"):
        titrant.estimate_memory_savings(block(), torch.zeros(1, WIDTH), -0.1)
    assert titrant.estimate_memory_savings(nn.Linear(WIDTH, 2), torch.zeros(1, WIDTH), 0.5).layers == ()

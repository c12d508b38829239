"""Gradient checkpointing: the same answers, gradients and buffers, whatever the layers do."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn  # noqa: TID253

import titrant
from titrant.runtime.training.memory.recompute import layers_of
from titrant.schema.diagnostics.diagnostics import StepError

WIDTH = 6


class Whim(nn.Module):
    """Skips by Python's and scales by NumPy's random numbers, and counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("table", torch.arange(WIDTH))

    def forward(self, x):
        self.calls = self.calls + 1
        if random.random() < 0.5:
            return x
        return self.linear(x) * np.random.uniform(0.5, 1.5)


PARTS = {
    "dropout": lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.4), nn.Tanh()),
    "batch norm": lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(inplace=True)),
    "cumulative": lambda: nn.Sequential(nn.BatchNorm1d(WIDTH, momentum=None), nn.Linear(WIDTH, WIDTH)),
    "spectral": lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH)), nn.Tanh()),
    "whim": Whim,
    "frozen": lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU()).requires_grad_(False),
}


def learned(model, steps=2):
    """Train for some steps, and return all that there is to compare."""
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=0.1)
    answers = []
    for _ in range(steps):
        optimizer.zero_grad()
        answer = model(torch.randn(5, WIDTH))
        answer.square().sum().backward()
        answers += [answer.detach(), *(weight.grad.clone() for weight in model.parameters() if weight.grad is not None)]
        optimizer.step()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    return [*answers, *state.values(), torch.rand(3), torch.tensor([random.random(), np.random.rand()])]


@settings(max_examples=15, deadline=None)
@given(
    parts=st.lists(st.sampled_from(sorted(PARTS)), min_size=1, max_size=4),
    ratio=st.sampled_from([0.2, 0.5, 1.0]),
    mode=st.booleans(),
)
def test_learns_exactly_what_it_would_without(parts, ratio, mode):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), *(PARTS[part]() for part in parts)).train(mode)
    plain = copy.deepcopy(model)
    assert titrant.apply_gradient_checkpointing(model, ratio)
    for ours, theirs in zip(learned(model), learned(plain), strict=True):
        assert torch.equal(ours, theirs)


def test_keeps_fewer_activations_of_those_layers_only():
    blocks = nn.ModuleList(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH)) for _ in range(4))
    model = nn.Module()
    model.blocks = blocks
    assert titrant.apply_gradient_checkpointing(model, 0.5) == ("blocks.0", "blocks.1")
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.shape), lambda _: None):
        x = torch.randn(3, WIDTH)
        for block in blocks:
            kept.clear()
            x = block(x)
            assert len([shape for shape in kept if shape == (3, WIDTH)]) == (1 if block in blocks[:2] else 3)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (nn.Transformer(4, 1, 1, 2, 4), ["encoder.layers.0", "decoder.layers.0", "decoder.layers.1"]),
        (nn.Sequential(*(nn.Linear(4, 4) for _ in range(9))), ["0 to 2", "3 to 5", "6 to 8"]),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4)), ["0 to 2"]),
        (nn.Sequential(nn.Sequential(PARTS["dropout"](), PARTS["dropout"]()), PARTS["dropout"]()), ["0.0", "0.1", "1"]),
        (nn.Linear(4, 4), []),
    ],
)  # fmt: skip
def test_finds_the_blocks_that_repeat(model, names):
    assert [layer.name for layer in layers_of(model)] == names


def test_finds_siblings_of_one_class():
    model = nn.Module()
    model.one, model.two, model.head = PARTS["whim"](), PARTS["whim"](), nn.Linear(4, 4)
    assert [layer.name for layer in layers_of(model)] == ["one", "two"]


def test_is_copied_and_pickled_with_the_model():
    model = nn.Sequential(PARTS["dropout"](), PARTS["dropout"]())
    titrant.apply_gradient_checkpointing(model, 1)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other[0].forward.module is other[0]
        with torch.no_grad():
            other[0][0].weight.zero_()
        assert torch.equal(other[0](torch.ones(1, WIDTH)), other[0](torch.zeros(1, WIDTH))) or other.training
        assert model[0][0].weight.any()


def test_leaves_structure_and_answers_without_gradients_alone():
    model = nn.Sequential(PARTS["batch norm"](), PARTS["batch norm"]()).eval()
    names, forward = list(model.state_dict()), model[0].forward
    titrant.apply_gradient_checkpointing(model, 1)
    assert list(model.state_dict()) == names
    with torch.inference_mode():
        model(torch.zeros(2, WIDTH))
    assert titrant.apply_gradient_checkpointing(model, 0) == ()
    assert model[0].forward == forward


def test_refuses_a_layer_that_changes_its_input():
    model = nn.Sequential(*(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(WIDTH, WIDTH)) for _ in range(2)))
    titrant.apply_gradient_checkpointing(model, 1)
    with pytest.raises(StepError) as caught:
        model(torch.randn(2, WIDTH))
    assert caught.value.diagnostics[0].code == "X521"


def test_refuses_a_model_without_layers_and_a_share_that_is_none():
    with pytest.raises(StepError) as caught:
        titrant.apply_gradient_checkpointing(nn.Linear(2, 2), 0.5)
    assert caught.value.diagnostics[0].code == "X520"
    for share in (1.5, float("nan"), "auto"):
        with pytest.raises(ValueError, match="from 0 to 1"):
            titrant.apply_gradient_checkpointing(nn.Linear(2, 2), share)

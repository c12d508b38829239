"""Whatever a training consists of comes back bit for bit: a training that was saved goes on as if it had not been."""

import random
from typing import get_args

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from same_states import same
from torch.optim import lr_scheduler  # noqa: TID253 - likewise

from titrant import checkpoints
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError
from titrant.schema.recipe.train import Optimizer

SCHEDULERS = {
    "constant": lambda o: lr_scheduler.ConstantLR(o, 0.5, 3),
    "linear": lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=4),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 8),
    "warmup": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, total_iters=2), lr_scheduler.CosineAnnealingLR(o, 6)], [2]
    ),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9),
    "step": lambda o: lr_scheduler.MultiStepLR(o, [2, 4]),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
}


class Net(torch.nn.Module):
    """A convolution, dropout and a batch norm, with state that is no tensor."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3),
            torch.nn.BatchNorm2d(4),
            torch.nn.Dropout(),
            torch.nn.Flatten(),
            torch.nn.Linear(16, 2),
        )
        self.seen = 0

    def forward(self, rows):
        self.seen += len(rows)
        return self.layers(rows)

    def get_extra_state(self):
        return {"seen": self.seen, "range": (0.5, float("inf"))}

    def set_extra_state(self, state):
        self.seen = state["seen"]


def training(optimizer="adamw", scheduler="cosine", dtype=torch.float32):
    torch.manual_seed(3)
    net = Net().to(dtype).to(memory_format=torch.channels_last)
    kind = {name.lower(): getattr(torch.optim, name) for name in torch.optim.__all__ if name[0].isupper()}[optimizer]
    made = kind(net.parameters(), lr=0.01)
    return {
        "model": net, "optimizer": made, "scheduler": SCHEDULERS[scheduler](made), "order": np.random.default_rng(1),
        "own": torch.Generator().manual_seed(1), "python": random.Random(1),
    }  # fmt: skip


def go_on(parts, steps=3):
    """Train with every source of randomness; return what came of it."""
    net, drawn = parts["model"], []
    for _ in range(steps):
        drawn += [parts["order"].random(), float(torch.rand(1, generator=parts["own"])), parts["python"].random()]
        drawn += [random.random(), float(np.random.rand()), float(torch.rand(1))]
        rows = torch.randn(4, 1, 4, 4).to(next(net.parameters()).dtype)
        parts["optimizer"].zero_grad()
        loss = net(rows).square().mean()
        loss.backward()
        parts["optimizer"].step()
        plateau = isinstance(parts["scheduler"], lr_scheduler.ReduceLROnPlateau)
        parts["scheduler"].step(loss.item()) if plateau else parts["scheduler"].step()
    states = {name: parts[name].state_dict() for name in ("model", "optimizer", "scheduler")}
    return {"drawn": drawn, **states, "model": dict(states["model"])}


def check_resumes(folder, **kind):
    parts = training(**kind)
    go_on(parts)
    checkpoints.save(folder, parts, epoch=1)
    before = {name: parts[name].state_dict() for name in ("optimizer", "scheduler")}
    fresh = training(**kind)
    go_on(fresh, 1)
    checkpoints.load(folder, fresh)
    assert all(same(fresh[name].state_dict(), state) for name, state in before.items())
    checkpoints.save(folder, parts, epoch=1)  # both begin from the same global states
    expected = go_on(parts)
    checkpoints.load(folder, fresh)
    assert same(go_on(fresh), expected)


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_restores_every_optimizer_of_the_language_bit_for_bit(tmp_path, optimizer):
    check_resumes(tmp_path, optimizer=optimizer)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_restores_states_that_are_of_another_type_than_the_weights(tmp_path, dtype):
    check_resumes(tmp_path, optimizer="nadam", dtype=dtype)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_restores_schedulers(tmp_path, scheduler):
    check_resumes(tmp_path, scheduler=scheduler)


def test_restores_in_place(tmp_path):
    parts = training()
    checkpoints.save(tmp_path, parts)
    weight = parts["model"].layers[0].weight
    saved, address = weight.detach().clone(), weight.data_ptr()
    go_on(parts)
    checkpoints.load(tmp_path, parts)
    assert weight.data_ptr() == address
    assert torch.equal(weight, saved)
    assert parts["optimizer"].param_groups[0]["params"][0] is weight


def test_restores_a_part_alone_and_leaves_random_states(tmp_path):
    checkpoints.save(tmp_path, training())
    fresh, state = training(), torch.get_rng_state()
    torch.rand(1)
    moved = torch.get_rng_state()
    checkpoints.load(tmp_path, {"model": fresh["model"]}, restore_random=False)
    assert torch.equal(torch.get_rng_state(), moved)
    checkpoints.load(tmp_path, {"model": fresh["model"]})
    assert not torch.equal(torch.get_rng_state(), moved)
    assert state.dtype == torch.uint8


def test_loads_what_a_wrapped_model_saved(tmp_path):
    net = torch.nn.Linear(2, 2)
    checkpoints.save(tmp_path, {"model": torch.nn.ModuleDict({"module": net})})
    other = torch.nn.Linear(2, 2)
    checkpoints.load(tmp_path, {"model": other})
    assert torch.equal(other.weight, net.weight)


def others():
    wider = training()
    wider["model"].layers[4] = torch.nn.Linear(16, 3)
    sgd = training(optimizer="sgd")
    groups = training()
    weights = list(groups["model"].parameters())
    groups["optimizer"] = torch.optim.AdamW([{"params": weights[:2]}, {"params": weights[2:]}], lr=0.01)
    frozen = training()
    frozen["optimizer"] = torch.optim.AdamW(list(frozen["model"].parameters())[1:], lr=0.01)
    return {
        "another model": (wider, "X154", "(3, 16)"), "another optimizer": (sgd, "X530", "SGD"),
        "other groups": (groups, "X530", "2 groups"), "fewer weights": (frozen, "X530", "5 weights"),
        "another type": (training(dtype=torch.float64), "X530", "float64"),
        "another scheduler": (training(scheduler="step"), "X530", "MultiStepLR"),
        "one that it lacks": ({**training(), "average": torch.nn.Linear(1, 1)}, "X530", "no average"),
    }  # fmt: skip


@pytest.mark.parametrize("case", others())
def test_changes_nothing_where_one_part_does_not_fit(tmp_path, case):
    checkpoints.save(tmp_path, training())
    parts, code, text = others()[case]
    before = {name: parts[name].state_dict() for name in ("model", "optimizer", "scheduler")}
    state = torch.get_rng_state()
    with pytest.raises((StepError, RecipeError)) as caught:
        checkpoints.load(tmp_path, parts)
    assert caught.value.diagnostics[0].code == code
    assert text in caught.value.diagnostics[0].message
    assert all(same(parts[name].state_dict(), value) for name, value in before.items() if name != "model")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["random", "custom", "kinds"])
def test_refuses_a_part_under_a_name_of_its_own(tmp_path, name):
    with pytest.raises(StepError, match="X534"):
        checkpoints.save(tmp_path, {name: torch.nn.Linear(1, 1)})


def test_refuses_a_part_without_a_state(tmp_path):
    with pytest.raises(StepError, match="X534"):
        checkpoints.save(tmp_path, {"model": len})

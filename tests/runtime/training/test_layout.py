"""Training with convolutions that lie channels last: measured both ways, the same course, twice the same."""

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253

from titrant.runtime.backends.torch.determinism import layout_name
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import PreconditionError
from titrant.schema.values.layout import CHANNELS_LAST

X = np.random.default_rng(0).normal(size=(60, 3, 6, 6)).astype(np.float32)
Y = (X.mean((1, 2, 3)) > 0).astype(np.int64)
MEASURED = {f"layout_{name}" for name in ("seconds_contiguous", "seconds", "speedup", "bytes_contiguous", "bytes")}


@pytest.fixture
def fitted(torch_model, apply):
    """Fit the same network; returns what was made and measured."""

    def run(name="TinyNet", **params):
        rows = (Rows(role, {"x": X}, Y, np.arange(60), np.arange(60), ("0", "1")) for role in ("train", "tuning"))
        inputs = dict(zip(("train", "tuning"), rows, strict=True))
        options = {"epochs": 3, "batch_size": 20, "learning_rate": 0.01, **params}
        args = {"inputs": 3} if name == "TinyNet" else {}
        return apply("train.fit", {"model": torch_model(name, 3, 6, 6, **args), **inputs}, options, seed=1)

    return run


def test_measures_a_step_both_ways_and_learns_the_same_to_rounding(fitted):
    plain, last = fitted(), fitted(layout=CHANNELS_LAST)
    assert {*last.measurements} - {*plain.measurements} == MEASURED
    assert last.measurements["layout_speedup"] > 0
    assert last.measurements["layout_bytes"] == last.measurements["layout_bytes_contiguous"] > 0
    curves, others = (done.outputs["curves"] for done in (plain, last))
    assert others["loss"] == pytest.approx(curves["loss"], rel=1e-3)
    assert others["loss"][-1] < others["loss"][0]


def test_refuses_weights_that_are_computed_in_each_step(fitted):
    with pytest.raises(PreconditionError, match="X629"):
        fitted("Normalized", layout=CHANNELS_LAST)


def test_gives_the_same_weights_twice(fitted):
    first, second = (fitted(layout=CHANNELS_LAST).outputs["model"].module.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_lies_so_while_it_is_trained(fitted, monkeypatch):
    seen = set()
    step = nn.Conv2d.forward

    def noted(self, x):
        if self.training and torch.is_grad_enabled():
            seen.add(layout_name(self.weight))
        return step(self, x)

    monkeypatch.setattr("titrant.runtime.training.trial.trial_steps", lambda *_, **__: None)
    monkeypatch.setattr(nn.Conv2d, "forward", noted)
    fitted(layout=CHANNELS_LAST)
    assert seen == {CHANNELS_LAST}
    seen.clear()
    fitted()
    assert seen == {""}

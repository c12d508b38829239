"""Gradients are watched while a training runs: layers that do not learn are told of, and NaN ends it by name."""

import math

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject

from titrant.runtime.training.gradient_norms import GradientLimits
from titrant.runtime.training.gradient_watcher import GradientWatcher
from titrant.runtime.training.loop import train
from titrant.runtime.training.task import TrainingSettings, TrainingTask
from titrant.schema.diagnostics.diagnostics import StepError


def times(gradient, factor):
    return gradient * factor if math.isfinite(factor) else torch.full_like(gradient, factor)


class Scaled(torch.nn.Module):
    """Two linear layers; the gradient of the first is that of the second, times a factor at each step."""

    def __init__(self, factors):
        super().__init__()
        self.first, self.second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        self.frozen = torch.nn.Linear(2, 2).requires_grad_(requires_grad=False)
        self.factors = list(factors)

    def forward(self, rows):
        hidden = self.first(rows)
        if self.training:
            factor = self.factors.pop(0)
            hidden.register_hook(lambda gradient: times(gradient, factor))
        return self.second(self.frozen(hidden))


def trained(factors, limits=None, **said):
    """Train a step for each factor, two steps an epoch; return what was told and the curves."""
    torch.manual_seed(0)
    batches = [(torch.rand(4, 2), torch.tensor([0, 1, 0, 1])) for _ in range(2)]
    task = TrainingTask(
        module=Scaled(factors),
        train=lambda: batches,
        tuning=None,
        objective=lambda output, labels, _: torch.nn.functional.cross_entropy(output, labels),
        settings=TrainingSettings(**{"epochs": len(factors) // 2, "learning_rate": 1e-6, "optimizer": "sgd", **said}),
        generator=np.random.default_rng(0),
        call=lambda net, inputs: net(inputs),
        right=None,
        progress=lambda *_: None,
        batches=2,
    )
    notes = []
    course = train(task, [GradientWatcher(limits or GradientLimits(), notes.append)])
    return notes, course.curves()["gradients"]


def test_is_silent_about_what_is_healthy():
    notes, gradients = trained([1.0] * 4)
    assert notes == []
    assert set(gradients) == {"global_norm"}
    assert len(gradients["global_norm"]) == 2


def test_tells_of_a_layer_once_and_counts_its_steps():
    notes, gradients = trained([1.0, 1e-12, 1e-13, 1.0])
    assert len(notes) == 1
    assert notes[0].startswith("training, step 2: the gradient of first vanishes (norm ")
    assert "standardize" in notes[0]
    seen = gradients["layers"]["first"]
    assert (seen["vanishing"], seen["exploding"]) == (2, 0)
    assert 0 < seen["least"] < 1e-12
    assert set(gradients["layers"]) == {"first"}


def test_tells_of_what_explodes_and_of_the_global_norm():
    notes, gradients = trained([1e6, 1e7, 1.0, 1.0])
    assert len(notes) == 1
    assert "first explodes" in notes[0]
    assert "global norm is" in notes[0]
    assert "gradient_clip" in notes[0]
    assert gradients["layers"]["first"]["exploding"] == 2
    assert gradients["above"] == 2
    assert gradients["global_norm"][0] > 1e5 > gradients["global_norm"][1]


def test_does_not_ask_for_clipping_where_gradients_are_clipped():
    notes, _ = trained([1e6, 1.0], gradient_clip=1.0)
    assert "write `train: {gradient_clip" not in notes[0]
    assert "lower train.learning_rate (it is 1e-06)" in notes[0]


@pytest.mark.parametrize(("factor", "kind"), [(math.nan, "NaN"), (math.inf, "infinite")])
def test_stops_at_the_step_by_the_name_of_the_tensor(factor, kind):
    with pytest.raises(StepError, match="X536") as caught:
        trained([1.0, 1.0, 1.0, factor])
    message = caught.value.diagnostics[0].message
    assert message.startswith(f"the gradient of first.weight, first.bias is {kind} at step 4, in epoch 2")


def test_moves_no_weight_by_a_gradient_that_is_not_finite():
    torch.manual_seed(0)
    net = Scaled([math.nan])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    batch = (torch.randn(4, 2), torch.tensor([0, 1, 0, 1]))
    task = TrainingTask(
        net, lambda: [batch], None, lambda output, labels, _: output.sum(), TrainingSettings(epochs=1), None,
        lambda module, rows: module(rows), None, lambda *_: None,
    )  # fmt: skip
    with pytest.raises(StepError, match="X536"):
        train(task, [GradientWatcher(GradientLimits(), print)])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_says_where_the_last_good_state_is():
    watcher = GradientWatcher(GradientLimits(), print, kept=lambda: "what it was is kept in x")
    with pytest.raises(StepError, match="is kept in x"):
        train(
            TrainingTask(
                Scaled([math.nan]), lambda: [(torch.randn(4, 2), torch.zeros(4))], None,
                lambda output, labels, _: output.sum(), TrainingSettings(epochs=1), None,
                lambda module, rows: module(rows), None, lambda *_: None,
            ),
            [watcher],
        )  # fmt: skip


def test_looks_at_what_the_pattern_picks_alone():
    notes, gradients = trained([1e-12, 1e6], GradientLimits(pattern="second.*"))
    assert notes == []
    assert "layers" not in gradients


def test_refuses_a_pattern_that_picks_nothing():
    with pytest.raises(StepError, match=r"X537.*named like `head\.\*`.*first.weight") as caught:
        trained([1.0, 1.0], GradientLimits(pattern="head.*"))
    assert caught.value.diagnostics[0].key == "train.watch_gradients.pattern"


class Scaler:
    """A scaler that skips steps: it says how much it multiplies."""

    def __init__(self, scale):
        self._scale = scale

    def is_enabled(self):
        return True

    def get_scale(self):
        return self._scale


@pytest.mark.parametrize(("scale", "stops"), [(1024.0, False), (1.0, True)])
def test_leaves_to_a_scaler_what_it_skips(scale, stops):
    watcher = GradientWatcher(GradientLimits(), print)
    net = Scaled([1.0])
    task = TrainingTask(
        net, list, None, lambda *_: 0, TrainingSettings(), None, lambda *_: 0, None, lambda *_: None
    )  # fmt: skip
    from titrant.runtime.training.task import Course, TrainingState

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    state = TrainingState(task, net, optimizer, None, Course(), scaler=Scaler(scale))
    watcher.started(state)
    net.first.weight.grad = torch.full((2, 2), math.inf)
    if stops:
        with pytest.raises(StepError, match="X536"):
            watcher.after_backward(state)
    else:
        watcher.after_backward(state)
        watcher.after_epoch(state)
        assert state.course.gradients == {"global_norm": [0.0]}

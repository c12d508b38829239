"""prune.gradual: the cubic schedule, masks that hold between steps, and which epoch may be the best."""

import contextlib

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from titrant.runtime.operators.prune.gradual import GradualParams
from titrant.runtime.training.rising_masks import CubicRise, RisingMasks
from titrant.runtime.training.task import Watcher

SHARE = st.floats(0.05, 0.95)


@settings(max_examples=60, deadline=None)
@given(SHARE, st.floats(0, 0.5), st.floats(0.55, 1), st.integers(1, 7), st.integers(1, 90))
def test_rises_as_the_cube_of_what_is_left_to_the_final_sparsity(sparsity, begin, end, every, steps):
    rise = CubicRise(sparsity, begin, end, every)
    held = [rise.at(rise.last_due(step, steps), steps) for step in range(1, steps + 1)]
    assert held == sorted(held)
    assert held[-1] == sparsity
    for step in range(1, steps):
        first, last = begin * steps, max(end * steps, begin * steps + 1)
        progress = min(max((step - first) / (last - first), 0), 1)
        # Zhu & Gupta 2017, eq. 1, from 0: s_f + (0 - s_f)(1 - progress)^3
        assert rise.at(step, steps) == pytest.approx(sparsity + (0 - sparsity) * (1 - progress) ** 3, abs=1e-12)
        if step % every == 0 and step < end * steps:
            assert rise.last_due(step, steps) == step


@pytest.fixture
def separable(rows):
    def make(count, role):
        x = np.random.default_rng(count).normal(size=(count, 5)).astype(np.float32)
        return rows(x=x, role=role, labels=x[:, 0] > 0)

    return {"train": make(128, "train"), "tuning": make(64, "tuning")}


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_ends_at_the_sparsity_that_is_asked_and_learns(torch_model, separable, apply, scope):
    model = torch_model("Stack", 5, widths=[5, 16, 2])
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    params = {"sparsity": 0.75, "scope": scope, "epochs": 8, "batch_size": 16, "learning_rate": 0.02, "every": 3}
    done = apply("prune.gradual", {"model": model, **separable}, params)
    curves, layers = done.outputs["curves"], done.outputs["masked"]["layers"]
    assert sum(item["zeros"] for item in layers) == 84
    if scope == "layer":
        assert [item["zeros"] for item in layers] == [60, 24]
    assert curves["sparsity"] == sorted(curves["sparsity"])
    assert curves["sparsity"][0] < 0.75
    assert curves["sparsity"][curves["best_epoch"]] == 0.75
    assert done.measurements["tuning_accuracy"] > 0.85
    assert all(torch.equal(before[name], value) for name, value in model.module.state_dict().items())


def test_takes_no_epoch_before_the_final_sparsity_for_the_best(torch_model, separable, apply):
    """A network that hardly learns is best before anything was masked."""
    params = {"sparsity": 0.9, "epochs": 6, "batch_size": 16, "learning_rate": 1e-6, "end": 1.0, "every": 1}
    curves = apply("prune.gradual", {"model": torch_model("Stack", 5, widths=[5, 16, 2]), **separable}, params).outputs[
        "curves"
    ]
    assert curves["best_epoch"] == 5
    assert curves["tuning_loss"][5] > min(curves["tuning_loss"])  # or the test proves nothing


class Seen(Watcher):
    """Counts the zeros after each step."""

    def __init__(self):
        self.zeros = []

    def after_step(self, state):
        self.zeros.append(int((state.module.weight == 0).sum()))


def tasks(epochs):
    from titrant.runtime.training.task import TrainingSettings, TrainingTask

    torch.manual_seed(0)
    module = torch.nn.Linear(10, 4)
    x, labels = torch.randn(32, 10), torch.arange(32) % 4
    batches = list(zip(x.split(8), labels.split(8), strict=True))
    return TrainingTask(
        module, lambda: batches, None, lambda output, labels, _: torch.nn.functional.cross_entropy(output, labels),
        TrainingSettings(epochs=epochs, optimizer="sgd", learning_rate=0.1), None,
        lambda module, inputs: module(inputs), None, lambda *_: None, batches=4,
    )  # fmt: skip


def test_holds_masks_between_those_that_are_new():
    from titrant.runtime.training.loop import train

    task, seen = tasks(10), Seen()
    rising = RisingMasks({"it": task.module.weight}, CubicRise(0.5, every=10, end=1.0), "layer")
    train(task, (rising, seen))
    expected = [round(40 * rising._rise.at(step - step % 10 if step < 40 else 40, 40)) for step in range(1, 41)]
    assert seen.zeros == expected
    assert expected[-1] == 20


def test_goes_on_where_an_earlier_training_was():
    from titrant.runtime.training.loop import train

    class Stopped(Exception):
        pass

    class Kept(Watcher):
        """Keeps the state at a step, or sets it there at the start."""

        def __init__(self, stop=None, kept=None):
            self.stop, self.kept = stop, kept

        def started(self, state):
            if self.kept is not None:
                state.module.load_state_dict(self.kept[0])
                state.epoch, state.step = self.kept[1:]

        def after_epoch(self, state):
            if state.epoch == self.stop:
                weights = {name: value.clone() for name, value in state.module.state_dict().items()}
                self.kept = (weights, state.epoch, state.step)
                raise Stopped

    def run(*watchers):
        task = tasks(8)
        rising = RisingMasks({"it": task.module.weight}, CubicRise(0.6, every=5, end=0.7), "layer")
        with contextlib.suppress(Stopped):
            train(task, (rising, *watchers))
        return task.module.weight.detach().clone(), rising.sparsity

    whole = run()
    first = Kept(stop=3)
    run(first)
    resumed = run(Kept(kept=first.kept))
    assert torch.equal(resumed[0], whole[0])
    assert resumed[1] == whole[1]


def test_refuses_a_schedule_that_ends_before_it_begins():
    with pytest.raises(ValidationError, match="begin must lie before end"):
        GradualParams(begin=0.8, end=0.5)

"""The training loop: torch's own trajectory bit for bit, and what clipping, accumulation, masks and watchers see."""

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch  # noqa: TID253 - what is tested is torch's own arithmetic
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253
from torch.optim import lr_scheduler  # noqa: TID253

from titrant.runtime.training.loop import train
from titrant.runtime.training.progress import sparkline
from titrant.runtime.training.task import TrainingSettings, TrainingTask, Watcher
from titrant.schema.diagnostics.diagnostics import StepError

OPTIMIZERS = {
    "adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD, "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam, "adamax": torch.optim.Adamax, "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad, "adadelta": torch.optim.Adadelta, "asgd": torch.optim.ASGD,
    "adafactor": torch.optim.Adafactor,
}  # fmt: skip
WITHOUT_MOMENTUM = ("adagrad", "adadelta", "asgd", "adafactor")
EPOCHS, BATCHES = 3, 4
STEPS = EPOCHS * BATCHES


def make_batches(count=BATCHES, rows=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    xs = [torch.randn(rows, 4, generator=generator) for _ in range(count)]
    return [(x, (x[:, 0] > 0).long()) for x in xs]


def make_net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))


def make_task(module, batches, *, tuning=None, objective=None, progress=lambda *_: None, **said):
    return TrainingTask(
        module=module,
        train=lambda: batches,
        tuning=None if tuning is None else lambda: tuning,
        objective=objective or (lambda output, labels, _: functional.cross_entropy(output, labels)),
        settings=TrainingSettings(**{"epochs": EPOCHS, "learning_rate": 0.05, **said}),
        generator=np.random.default_rng(0),
        call=lambda net, inputs: net(inputs),
        right=lambda output, labels: int((output.argmax(1) == labels).sum()),
        progress=progress,
        batches=len(batches),
    )


def state_of(module):
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}


# As somebody would write them for this training: 12 steps in 3 epochs, and 6 epochs of patience for `plateau`.
SCHEDULES = {
    "constant": lambda _: None,
    "linear": lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, STEPS),
    "cosine_warmup": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 1 / 2, 1.0, 1), lr_scheduler.CosineAnnealingLR(optimizer, STEPS - 1)],
        [1],
    ),
    "one_cycle": lambda optimizer: lr_scheduler.OneCycleLR(
        optimizer, 0.05, STEPS, cycle_momentum=not isinstance(optimizer, tuple(map(OPTIMIZERS.get, WITHOUT_MOMENTUM)))
    ),
    "step": lambda optimizer: lr_scheduler.StepLR(optimizer, 1, 0.1),
    "exponential": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.01 ** (1 / 3)),
    "plateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, "min", 0.1, 1),
}


def by_hand(module, batches, tuning, optimizer, schedule):
    """Train as torch's tutorials do, and return the learning rates of all steps."""
    moved, rates = schedule(optimizer), []
    for _ in range(EPOCHS):
        module.train()
        for x, labels in batches:
            optimizer.zero_grad()
            functional.cross_entropy(module(x), labels).backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if isinstance(moved, (lr_scheduler.StepLR, lr_scheduler.ExponentialLR, lr_scheduler.ReduceLROnPlateau)):
                continue
            if moved is not None:
                moved.step()
        module.eval()
        with torch.no_grad():
            loss = sum(float(functional.cross_entropy(module(x), labels)) for x, labels in tuning) / len(tuning)
        if isinstance(moved, lr_scheduler.ReduceLROnPlateau):
            moved.step(loss)
        elif isinstance(moved, (lr_scheduler.StepLR, lr_scheduler.ExponentialLR)):
            moved.step()
    return rates


class Rates(Watcher):
    def __init__(self):
        self.rates = []

    def after_backward(self, state):
        self.rates.append(state.optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_goes_where_torch_goes_bit_for_bit(optimizer, schedule):
    batches, tuning = make_batches(), make_batches(2, seed=1)
    mine, theirs, watched = make_net(), make_net(), Rates()
    train(make_task(mine, batches, tuning=tuning, optimizer=optimizer, schedule=schedule), [watched])
    made = OPTIMIZERS[optimizer](theirs.parameters(), lr=0.05, weight_decay=0.01)
    assert watched.rates == by_hand(theirs, batches, tuning, made, SCHEDULES[schedule])
    assert state_of(mine) == state_of(theirs)
    assert schedule in {"constant", "plateau"} or len(set(watched.rates)) > 2


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_takes_momentum_as_torch_does(optimizer, schedule):
    batches, tuning = make_batches(), make_batches(2, seed=1)
    mine, theirs = make_net(), make_net()
    train(make_task(mine, batches, tuning=tuning, optimizer=optimizer, schedule=schedule, momentum=0.9))
    made = OPTIMIZERS[optimizer](theirs.parameters(), lr=0.05, weight_decay=0.01, momentum=0.9)
    by_hand(theirs, batches, tuning, made, SCHEDULES[schedule])
    assert state_of(mine) == state_of(theirs)


def test_lowers_the_rate_on_a_plateau_of_what_is_watched():
    wrong = [(x, 1 - labels) for x, labels in make_batches(2, seed=1)]
    watched = Rates()
    task = make_task(make_net(), make_batches(), tuning=wrong, schedule="plateau", epochs=8)
    train(task, [watched])
    assert watched.rates[0] == 0.05
    assert watched.rates[-1] < 0.006


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(2, 6), min_size=1, max_size=7),
    accumulate=st.integers(1, 8),
    clip=st.none() | st.floats(1e-3, 10),
)
def test_steps_as_one_batch_of_all_that_it_accumulates(sizes, accumulate, clip):
    net = nn.Linear(4, 2)  # no batch normalization: it would see other batches
    other = copy.deepcopy(net)
    batches = [batch for place, rows in enumerate(sizes) for batch in make_batches(1, rows, place)]
    task = make_task(net, batches, optimizer="sgd", accumulate=accumulate, gradient_clip=clip, epochs=1)
    course = train(task)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.05, weight_decay=0.01)
    for start in range(0, len(batches), accumulate):
        group = batches[start : start + accumulate]
        optimizer.zero_grad()
        loss = functional.cross_entropy(other(torch.cat([x for x, _ in group])), torch.cat([y for _, y in group]))
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(other.parameters(), clip)
        optimizer.step()
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)
    assert len(course.loss) == 1


def test_shows_watchers_whole_gradients_before_they_are_clipped():
    norms = []

    class Norms(Watcher):
        def after_backward(self, state):
            self.before = torch.cat([weight.grad.flatten() for weight in state.module.parameters()]).norm()

        def after_step(self, state):
            after = torch.cat([weight.grad.flatten() for weight in state.module.parameters()]).norm()
            norms.append((float(self.before), float(after)))

    train(make_task(nn.Linear(4, 2), make_batches(), gradient_clip=0.01, accumulate=2), [Norms()])
    assert len(norms) == EPOCHS * 2
    assert all(before > 0.02 and after == pytest.approx(0.01, rel=1e-3) for before, after in norms)


def test_tells_watchers_each_step_and_epoch_once_and_the_end_also_of_a_failure():
    heard = []

    class All(Watcher):
        def started(self, state):
            heard.append("started")

        def after_step(self, state):
            heard.append(f"step {state.step}")

        def after_epoch(self, state):
            heard.append(f"epoch {state.epoch}")

        def ended(self, state):
            heard.append("ended")

    train(make_task(make_net(), make_batches(2), epochs=2), [All()])
    assert heard == ["started", "step 1", "step 2", "epoch 1", "step 3", "step 4", "epoch 2", "ended"]
    heard.clear()
    with pytest.raises(StepError):
        train(make_task(make_net(), [(x * math.nan, y) for x, y in make_batches(2)]), [All()])
    assert heard == ["started", "ended"]


def test_goes_on_from_a_restored_state_to_the_same_bytes():
    batches, tuning = make_batches(), make_batches(2, seed=1)
    whole, halves, kept = make_net(), make_net(), {}

    class Keep(Watcher):
        def after_epoch(self, state):
            if state.epoch == 2:
                kept.update(copy.deepcopy({
                    "module": state.module.state_dict(), "optimizer": state.optimizer.state_dict(),
                    "scheduler": state.scheduler.state_dict(), "course": state.course, "step": state.step,
                }))  # fmt: skip

    class Restore(Watcher):
        def started(self, state):
            state.module.load_state_dict(kept["module"])
            state.optimizer.load_state_dict(kept["optimizer"])
            state.scheduler.load_state_dict(kept["scheduler"])
            vars(state.course).update(vars(kept["course"]))
            state.epoch, state.step = 2, kept["step"]

    said = {"schedule": "cosine", "epochs": 4}
    expected = train(make_task(whole, batches, tuning=tuning, **said), [Keep()])
    course = train(make_task(halves, batches, tuning=tuning, **said), [Restore()])
    assert state_of(whole) == state_of(halves)
    assert course.curves() == expected.curves()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_keeps_zeros_of_matrices_and_moves_all_else(optimizer):
    net = make_net()
    with torch.no_grad():
        net[0].weight[::2] = 0
        net[3].bias.zero_()
    masked = net[0].weight == 0
    before = state_of(net)
    train(make_task(net, make_batches(), optimizer=optimizer, keep_zeros=True))
    assert bool((net[0].weight[masked] == 0).all())
    assert bool((net[0].weight[~masked] != 0).all())
    assert bool((net[3].bias != 0).all())
    assert state_of(net)["3.weight"] != before["3.weight"]


def test_moves_zeros_unless_they_are_kept():
    net = make_net()
    with torch.no_grad():
        net[0].weight[::2] = 0
    train(make_task(net, make_batches()))
    assert bool((net[0].weight != 0).all())


@pytest.mark.parametrize("bad", range(BATCHES))
def test_names_the_step_at_which_the_loss_is_not_finite_before_the_weights_move(bad):
    batches = make_batches()
    batches[bad] = (batches[bad][0] * math.inf, batches[bad][1])
    steps = []

    class Count(Watcher):
        def after_step(self, state):
            steps.append(state.step)

    with pytest.raises(StepError) as caught:
        train(make_task(make_net(), batches), [Count()])
    (found,) = caught.value.diagnostics
    assert found.code == "X205"
    assert f"at step {bad + 1}, in epoch 1 of {EPOCHS}" in found.message
    assert "train.learning_rate (it is 0.05)" in found.help
    assert "train.gradient_clip" in found.help
    assert steps == list(range(1, bad + 1))


def test_advises_no_clipping_where_gradients_are_clipped():
    with pytest.raises(StepError) as caught:
        train(make_task(make_net(), [(x * math.nan, y) for x, y in make_batches()], gradient_clip=1.0))
    assert "gradient_clip" not in caught.value.diagnostics[0].help


def test_refuses_a_loss_that_rises_without_end():
    task = make_task(nn.Linear(4, 2), make_batches(), optimizer="sgd", learning_rate=1e6, weight_decay=0.0)
    with pytest.raises(StepError, match=r"X205.*risen from") as caught:
        train(task)
    assert "in epoch 1 of 3" in caught.value.diagnostics[0].message


def test_leaves_the_last_weights_where_there_are_no_tuning_rows():
    net = make_net()
    course = train(make_task(net, make_batches()))
    assert course.best_epoch == EPOCHS - 1
    assert course.best_weights == {}
    assert course.tuning_loss == []


def test_refuses_an_epoch_without_batches():
    spent = iter(make_batches())
    with pytest.raises(StepError, match="X512"):
        train(make_task(make_net(), [], epochs=2))
    task = make_task(make_net(), make_batches())
    with pytest.raises(StepError, match="X512"):
        train(TrainingTask(**{**vars(task), "train": lambda: spent}))


def test_says_how_far_it_is_and_how_long_it_takes(monkeypatch):
    now = iter(np.arange(0, 1e6, 0.6))
    monkeypatch.setattr("titrant.runtime.training.progress.time.monotonic", lambda: float(next(now)))
    heard = []
    task = make_task(make_net(), make_batches(), progress=lambda *said: heard.append(said), epochs=2)
    train(task)
    done = [said[0] for said in heard]
    assert done == sorted(done)
    assert 0 < done[0] < 1  # within the epoch
    assert done[-1] == 2
    assert all(said[1] == 2 for said in heard)
    assert "so far, about" in heard[0][2]
    assert "left" not in heard[-1][2]
    assert heard[-1][2].endswith(" █▁")  # the loss fell


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_draws_the_last_numbers_of_a_curve(values):
    drawn, last = sparkline(values), values[-12:]
    assert len(drawn) == len(last)
    assert drawn[last.index(min(last))] == "▁"
    if max(last) - min(last) > 1e-3:
        assert drawn[last.index(max(last))] == "█"
    assert all(
        before >= after for (_, before), (_, after) in pairwise(sorted(zip(last, drawn, strict=True), reverse=True))
    )

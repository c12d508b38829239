"""The learning-rate finder: it finds a rate that learns, puts everything back, and refuses where nothing falls."""

import numpy as np
import pytest
import torch  # noqa: TID253 - what is tested is torch's own arithmetic
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from titrant.runtime.training.loop import train
from titrant.runtime.training.rate_sweep import HIGHEST, LOWEST, find_learning_rate
from titrant.runtime.training.task import TrainingSettings, TrainingTask
from titrant.schema.diagnostics.diagnostics import StepError


def make_net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))


def make_task(module, *, objective=None, **said):
    generator = np.random.default_rng(3)
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    labels = (x[:, 0] > 0).long()

    def batches():
        order = torch.from_numpy(generator.permutation(64))
        return [(x[rows], labels[rows]) for rows in torch.split(order, 16)]

    return TrainingTask(
        module=module,
        train=batches,
        tuning=lambda: [(x, labels)],
        objective=objective or (lambda output, labels, _: functional.cross_entropy(output, labels)),
        settings=TrainingSettings(**{"epochs": 4, **said}),
        generator=generator,
        call=lambda net, inputs: net(inputs),
        right=None,
        progress=lambda *_: None,
        batches=4,
    )


def state_of(module):
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}


def test_puts_back_the_weights_the_buffers_and_all_that_is_random():
    net = make_net()
    task, before = make_task(net), state_of(net)
    random, order = torch.random.get_rng_state(), dict(task.generator.bit_generator.state)
    net.eval()
    seen = find_learning_rate(task)
    assert state_of(net) == before
    assert torch.equal(torch.random.get_rng_state(), random)
    assert task.generator.bit_generator.state == order
    assert not net.training
    assert all(weight.grad is None for weight in net.parameters())
    assert LOWEST == seen["rates"][0] < seen["chosen"] < seen["rates"][-1] <= HIGHEST
    assert len(seen["rates"]) == len(seen["loss"])


def test_trains_on_as_if_the_rate_that_it_finds_had_been_written():
    found, written = make_net(), make_net()
    torch.manual_seed(5)
    course = train(make_task(found, find_learning_rate=True))
    torch.manual_seed(5)
    plain = train(make_task(written, learning_rate=course.sweep["chosen"]))
    assert state_of(found) == state_of(written)
    assert course.curves()["sweep"]["chosen"] == course.sweep["chosen"]
    assert "sweep" not in plain.curves()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_finds_a_rate_that_learns(optimizer):
    course = train(make_task(make_net(), optimizer=optimizer, find_learning_rate=True, epochs=10))
    assert course.tuning_loss[-1] < 0.6 * course.first_loss


def test_ends_the_sweep_where_the_loss_leaves_all_bounds():
    def steep(output, labels, _):
        return functional.cross_entropy(output * 100, labels)

    seen = find_learning_rate(make_task(make_net(), optimizer="sgd", objective=steep))
    assert seen["rates"][-1] < HIGHEST
    assert all(np.isfinite(seen["loss"]))


def test_refuses_where_the_loss_falls_nowhere():
    net = nn.Linear(4, 2)
    flat = make_task(net, objective=lambda output, labels, _: 0 * output.sum() + 1 + 0 * labels.sum())
    with pytest.raises(StepError) as caught:
        find_learning_rate(flat)
    (found,) = caught.value.diagnostics
    assert found.code == "X511"
    assert "the loss falls from 1 to 1" in found.message
    assert "train.learning_rate" in found.help

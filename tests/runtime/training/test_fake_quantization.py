"""Rounded training: onnxruntime's own numbers, the straight-through gradient, ranges, batch norms, and a resume."""

import contextlib
import copy

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn  # noqa: TID253

from titrant.runtime.method import FakeQuantization
from titrant.runtime.training.fake_quantization import (
    fake_quantize_activation,
    fake_quantize_weight,
    fake_quantized,
)
from titrant.runtime.training.loop import train
from titrant.runtime.training.task import TrainingSettings, TrainingTask, Watcher
from titrant.schema.diagnostics.diagnostics import PreconditionError

BOUND = st.floats(0, 100, width=32)


@pytest.fixture(scope="module")
def rounded_by_engine():
    """Round an array as onnxruntime does, by QuantizeLinear and DequantizeLinear over the first axis or none."""
    import onnxruntime
    from onnx import TensorProto, helper

    def session(kind):
        given = [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("zero", kind, None),
        ]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["whole"], axis=0),
            helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["y"], axis=0),
        ]
        graph = helper.make_graph(nodes, "it", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(model.SerializeToString(), options)

    sessions = {"int8": session(TensorProto.INT8), "uint8": session(TensorProto.UINT8)}

    def run(x, scale, zero):
        feeds = {"x": x, "scale": np.asarray(scale, np.float32), "zero": np.asarray(zero)}
        return sessions[str(feeds["zero"].dtype)].run(None, feeds)[0]

    return run


def agree(ours, theirs, x, scale):
    """Compare: a number that lies as good as in the middle of two levels may go to either."""
    steps = x / scale
    between = np.abs(np.abs(steps - np.floor(steps)) - 0.5) < 1e-4 * np.maximum(1, np.abs(steps))
    np.testing.assert_allclose(ours[~between], theirs[~between], rtol=1e-5, atol=1e-30)
    np.testing.assert_array_less(np.abs(ours - theirs), np.broadcast_to(scale, x.shape) * 1.001)


@settings(max_examples=40, deadline=None)
@given(BOUND, BOUND, st.integers(0, 10**6))
def test_rounds_activations_as_onnxruntime_does(rounded_by_engine, below, above, seed):
    from onnxruntime.quantization.quant_utils import compute_scale_zp

    low, high = np.float32(-below), np.float32(above)
    zero, scale = compute_scale_zp(low, high, np.array(0, np.uint8), np.array(255, np.uint8))
    x = np.random.default_rng(seed).uniform(1.2 * low - 0.1, 1.2 * high + 0.1, 64).astype(np.float32)
    bounds = (torch.tensor(bound) for bound in (low, high))
    ours = fake_quantize_activation(torch.from_numpy(x), *bounds, FakeQuantization()).numpy()
    agree(ours, rounded_by_engine(x, scale, np.uint8(zero)), x, np.float32(scale))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([127, 64]), st.booleans(), st.integers(0, 10**6))
def test_rounds_weights_as_onnxruntime_does(rounded_by_engine, largest, per_channel, seed):
    weight = np.random.default_rng(seed).normal(size=(4, 3, 2)).astype(np.float32)
    weight *= np.array([1, 30, 1e-3, 0], np.float32)[:, None, None]
    ours = fake_quantize_weight(torch.from_numpy(weight), FakeQuantization(largest, per_channel)).numpy()
    peaks = np.abs(weight).max(axis=(1, 2)) if per_channel else np.abs(weight).max()
    scale = np.where(peaks > 0, peaks / np.float32(largest), 1).astype(np.float32)
    theirs = rounded_by_engine(weight, scale, np.zeros(scale.shape, np.int8))
    agree(ours, theirs, weight, scale.reshape(-1, 1, 1) if per_channel else scale)


def test_lies_evenly_about_zero_where_that_is_asked_and_some_are_negative():
    symmetric, values = FakeQuantization(symmetric_activations=True), torch.linspace(-8, 8, 1001)
    rounded = fake_quantize_activation(values, torch.tensor(-2.0), torch.tensor(5.08), symmetric)
    assert sorted({round(float(value) / 0.04) for value in rounded}) == list(range(-128, 128))
    rounded = fake_quantize_activation(values, torch.tensor(0.5), torch.tensor(5.1), symmetric)
    assert sorted({round(float(value) / 0.02) for value in rounded}) == list(range(256))


def test_lets_gradients_through_within_the_range_and_none_beyond():
    layer = nn.Linear(3, 2, bias=False)
    x = torch.tensor([[0.4, -3.0, 1.7], [9.0, 0.2, -0.9]], requires_grad=True)
    rows = torch.tensor([[-1.0, 2.0, 0.0]])
    with fake_quantized(layer, FakeQuantization(), lambda: layer(rows)):
        answer = layer(x)
        (answer * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    weight = layer.weight.detach()
    scale = weight.abs().amax(1, keepdim=True) / 127
    by_hand = (weight / scale).round() * scale
    inside = (x >= -1) & (x <= 2)
    up = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    torch.testing.assert_close(x.grad, (up @ by_hand) * inside)
    given_rows = ((x.detach().clamp(-1, 2) * 85).round() / 85).clamp(-1, 2)  # 3 / 255 is a step
    torch.testing.assert_close(answer.detach(), given_rows @ by_hand.T)
    torch.testing.assert_close(layer.weight.grad, up.T @ given_rows)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_rounds_a_weight_by_channel_alike_before_and_after_a_batch_norm_is_folded_into_it(seed):
    torch.manual_seed(seed)
    weight, factor = (
        torch.randn(4, 3, 3, 3),
        2.0 ** torch.randint(-3, 4, (4, 1, 1, 1)) * torch.tensor([-1, 1, 1, -1]).view(4, 1, 1, 1),
    )
    folded = fake_quantize_weight(weight * factor, FakeQuantization())
    assert torch.equal(folded, fake_quantize_weight(weight, FakeQuantization()) * factor)


class Net(nn.Module):
    """A convolution with batch norm, dropout, a linear layer, and one that no row reaches in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.drop, self.head, self.aside = nn.Dropout(0.2), nn.Linear(64, 4), nn.Linear(64, 4)

    def forward(self, x):
        inner = self.drop(torch.relu(self.norm(self.conv(x))).flatten(1))
        return self.head(inner) + (0.1 * self.aside(inner) if self.training else 0)


def task_of(epochs):
    torch.manual_seed(0)
    x, labels = torch.randn(32, 1, 6, 6), torch.arange(32) % 4
    batches = list(zip(x.split(8), labels.split(8), strict=True))
    return TrainingTask(
        Net().eval(), lambda: batches, lambda: batches,
        lambda output, labels, _: nn.functional.cross_entropy(output, labels),
        TrainingSettings(epochs=epochs, optimizer="adam", learning_rate=0.02), None,
        lambda module, inputs: module(inputs), None, lambda *_: None, batches=4,
    )  # fmt: skip


def test_takes_ranges_from_the_unrounded_network_and_leaves_nothing_behind():
    task = task_of(1)
    module, x = task.module, torch.randn(16, 1, 6, 6)
    names, plain, seen = list(module.state_dict()), module(x), []
    hook = module.head.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    module(x)
    hook.remove()
    with fake_quantized(module, FakeQuantization(), lambda: module(x), leave=("conv",)) as rounding:
        assert {name: layer.reached for name, layer in rounding.layers.items()} == {"head": True, "aside": False}
        assert rounding.layers["head"].seen == (0.0, float(seen[0].max()))
        assert list(module.state_dict()) == names
        assert not torch.equal(module(x), plain)
        with torch.no_grad():
            module.norm.weight.mul_(3)
        module.train()
        rounding.find_ranges()
        assert module.training
        assert rounding.layers["head"].seen[1] > 2 * float(seen[0].max())
        with torch.no_grad():
            module.norm.weight.div_(3)
    assert list(module.state_dict()) == names
    assert torch.equal(module.eval()(x), plain)


class Kept(Watcher):
    """Keeps the state after an epoch and stops, or sets it there at the start; notes each epoch's running mean."""

    def __init__(self, stop=None, kept=None):
        self.stop, self.kept, self.means = stop, kept, []

    def started(self, state):
        if self.kept is not None:
            state.module.load_state_dict(self.kept["module"])
            state.optimizer.load_state_dict(self.kept["optimizer"])
            torch.set_rng_state(self.kept["random"])
            state.epoch, state.step = self.kept["epoch"], self.kept["step"]
            vars(state.course).update(copy.deepcopy(self.kept["course"]))

    def after_epoch(self, state):
        self.means.append(state.module.norm.running_mean.clone())
        if state.epoch == self.stop:
            parts = {"module": state.module.state_dict(), "optimizer": state.optimizer.state_dict()}
            parts |= {"course": vars(state.course)}
            self.kept = copy.deepcopy(parts) | {
                "random": torch.get_rng_state(),
                "epoch": state.epoch,
                "step": state.step,
            }
            raise InterruptedError


def trained(watcher, epochs=6):
    task, rows = task_of(epochs), torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    with (
        contextlib.suppress(InterruptedError),
        fake_quantized(task.module, FakeQuantization(), lambda: task.module(rows), every=3) as rounding,
    ):
        train(task, (rounding, watcher))
    return {name: value.clone() for name, value in task.module.state_dict().items()}, watcher


@pytest.mark.parametrize("stop", [2, 4])
def test_goes_on_bit_by_bit_where_an_earlier_training_was(stop):
    whole, _ = trained(Kept())
    _, first = trained(Kept(stop=stop))
    resumed, _ = trained(Kept(kept=first.kept))
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


def test_lets_batch_norms_keep_their_figures_from_half_of_the_steps_on():
    _, watcher = trained(Kept())
    means = watcher.means
    assert not torch.equal(means[0], means[1])
    assert not torch.equal(means[1], means[2])
    assert torch.equal(means[2], means[3])
    assert torch.equal(means[3], means[5])


def test_refuses_what_has_nothing_to_round_and_numbers_that_have_no_range():
    class Own(nn.Linear):
        def forward(self, x):
            return x @ self.weight.T

    own = Own(3, 2)
    with (
        pytest.raises(PreconditionError) as refused,
        fake_quantized(own, FakeQuantization(), lambda: own(torch.ones(2, 3))),
    ):
        pass
    assert refused.value.diagnostics[0].code == "X617"
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    rows = torch.tensor([[1.0, float("nan"), 2.0]])
    with (
        pytest.raises(PreconditionError, match="X618: 0 is given") as refused,
        fake_quantized(net, FakeQuantization(), lambda: net(rows)),
    ):
        pass
    assert "forward" not in vars(net[0])

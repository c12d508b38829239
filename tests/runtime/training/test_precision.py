"""16 bits: taken where a device computes in them, gradients unscaled before anybody looks, skipped steps counted."""

import copy

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

import titrant
from titrant.runtime.training import precision
from titrant.runtime.training.loop import train
from titrant.runtime.training.task import TrainingSettings, TrainingTask, Watcher
from titrant.runtime.training.trial import trial_steps
from titrant.schema.diagnostics.diagnostics import StepError


@pytest.fixture(params=[(), ("bf16",), ("fp16",), ("bf16", "fp16")], ids="+".join)
def computed(request, monkeypatch):
    monkeypatch.setattr(precision, "computed_formats", lambda _: request.param)
    return request.param


def test_takes_bf16_before_fp16_before_fp32(computed):
    chosen = (*(name for name in ("bf16", "fp16") if name in computed), "fp32")[0]
    context = titrant.autocast("auto", "cpu")
    assert context._enabled is (chosen != "fp32")
    with context:
        assert (nn.Linear(2, 2)(torch.ones(1, 2))).dtype is precision.DTYPES[chosen]
    assert titrant.create_scaler("auto", "cpu").is_enabled() is (chosen == "fp16")


def test_refuses_what_would_be_emulated(computed):
    for name in ("bf16", "fp16"):
        if name not in computed:
            with pytest.raises(StepError) as caught:
                titrant.autocast(name, "cpu")
            assert caught.value.diagnostics[0].code == "X522"
    assert titrant.autocast("fp32", "cpu")._enabled is False
    with pytest.raises(ValueError, match="fp8"):
        titrant.create_scaler("fp8", "cpu")


def test_asks_the_instruction_sets_and_not_whether_torch_can(monkeypatch):
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    for avx, amx in ((False, False), (True, False), (False, True)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        assert precision.computed_formats(torch.device("cpu")) == (("bf16",) if avx or amx else ())


def test_counts_the_steps_that_it_skips_and_goes_on_from_a_kept_state():
    weight = nn.Parameter(torch.ones(2))
    optimizer, scaler = torch.optim.SGD([weight], lr=1.0), precision.Scaler("cpu")
    for scale in (1.0, float("inf"), float("nan"), 1.0):
        optimizer.zero_grad()
        scaler.scale((weight * scale).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert scaler.skipped_steps == 2
    assert weight.tolist() == [-1.0, -1.0]
    other = precision.Scaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert (other.skipped_steps, other.get_scale()) == (2, scaler.get_scale())
    assert precision.Scaler("cpu", enabled=False).state_dict() == {}


def task_of(module, batches, **said):
    return TrainingTask(
        module=module,
        train=lambda: batches,
        tuning=lambda: batches,
        objective=lambda output, labels, _: functional.cross_entropy(output, labels),
        settings=TrainingSettings(**{"epochs": 2, "optimizer": "sgd", "learning_rate": 0.1, **said}),
        generator=np.random.default_rng(0),
        call=lambda net, inputs: net(inputs),
        right=None,
        progress=lambda *_: None,
        batches=len(batches),
    )


def net_and_batches(dropout=0.2):
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout)) for _ in range(3)]
    batches = [(torch.randn(6, 8), torch.randint(2, (6,))) for _ in range(4)]
    return nn.Sequential(*blocks, nn.Linear(8, 2)), batches


class Gradients(Watcher):
    def __init__(self):
        self.norms, self.dtypes = [], set()

    def after_backward(self, state):
        gradients = [weight.grad for weight in state.module.parameters()]
        self.dtypes |= {gradient.dtype for gradient in gradients}
        self.norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))


def seen(module, batches, **said):
    watcher = Gradients()
    torch.manual_seed(1)
    return train(task_of(module, batches, **said), [watcher]), watcher


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_shows_watchers_gradients_as_large_as_in_fp32(name):
    module, batches = net_and_batches(dropout=0.0)
    batches = batches[:1] * 4
    _, plain = seen(copy.deepcopy(module), batches, learning_rate=1e-3)
    course, half = seen(module, batches, learning_rate=1e-3, precision=name)
    assert half.dtypes == {torch.float32}
    # fp16 skips the steps whose scaled gradients are too large, and nobody is shown those.
    assert len(half.norms) == len(plain.norms) - course.skipped_steps
    assert half.norms == pytest.approx(plain.norms[: len(half.norms)], rel=0.1)
    assert half.norms != plain.norms
    assert all(weight.dtype is torch.float32 for weight in module.parameters())


def test_counts_what_fp16_skips_in_a_training():
    weight = nn.Linear(1, 2, bias=False)
    batches = [(torch.full((2, 1), 6e4), torch.tensor([0, 0]))] * 3
    with torch.no_grad():
        weight.weight.fill_(1e-6)
    course, _ = seen(weight, batches, precision="fp16", epochs=1, learning_rate=1e-12)
    assert course.skipped_steps == 3
    assert weight.weight.flatten().tolist() == pytest.approx([1e-6, 1e-6])


def test_learns_the_same_when_layers_are_recomputed_and_leaves_none_so():
    module, batches = net_and_batches()
    other = copy.deepcopy(module)
    assert seen(module, batches)[0].loss == seen(other, batches, gradient_checkpointing=0.5)[0].loss
    assert all(
        torch.equal(a, b) for a, b in zip(module.state_dict().values(), other.state_dict().values(), strict=True)
    )
    assert not any("forward" in part.__dict__ for part in other.modules())


def test_tries_steps_that_leave_no_trace():
    module, batches = net_and_batches()
    module.eval()
    before, measured = copy.deepcopy(module.state_dict()), {}
    state = torch.get_rng_state()
    task = task_of(module, batches, precision="bf16", gradient_checkpointing=1.0)
    trial_steps(task, batches[0], lambda name, value, unit: measured.update({name: (value, unit)}))
    assert {
        "step_seconds_fp32", "step_seconds", "precision_speedup", "activation_bytes", "activation_bytes_predicted",
        "activation_bytes_all", "activation_bytes_all_predicted", "recompute_seconds", "recompute_seconds_predicted",
    } == set(measured)  # fmt: skip
    assert measured["precision_speedup"][0] > 0
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(weight.grad is None for weight in module.parameters())
    assert not module.training
    assert torch.equal(torch.get_rng_state(), state)
    measured.clear()
    trial_steps(task_of(module, batches), batches[0], lambda name, value, unit: measured.update({name: value}))
    assert measured == {}

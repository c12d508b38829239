"""Every fault that is planted in a healthy network is found and named, and none in the healthy one."""

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253 - its very subject

import titrant


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.hidden = nn.Linear(8 * 36, 16)
        self.gate = nn.Sigmoid()
        self.head = nn.Linear(16, 3)

    def forward(self, image):
        seen = self.relu(self.norm(self.conv(image)))
        return self.head(self.gate(self.hidden(seen.flatten(1))))


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = Net().train()
    made(torch.randn(64, 1, 8, 8))  # so that the normalization has seen rows
    return made.eval()


ROWS = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def kinds(health):
    return {(found.kind, found.severity, found.layer) for found in health.findings}


def test_finds_nothing_in_a_healthy_network(net):
    health = titrant.check_health(net, ROWS)
    assert health.findings == ()
    assert health.ok
    assert str(health) == "health of 10 tensors and 6 answers on 32 rows: nothing is broken"


def test_says_what_there_is_to_look_at_where_nothing_holds_weights():
    assert str(titrant.check_health(nn.ReLU())) == (
        "it holds no weights to look at: give it rows (--rows 8, or inputs), and its answers are looked at"
    )
    assert str(titrant.check_health(nn.ReLU(), ROWS)).startswith("health of 1 answer on 32 rows: ")
    assert str(titrant.check_health(nn.Flatten(), ROWS)).endswith("could be broken: nothing to look at")


def _fill(parameter, value):
    with torch.no_grad():
        parameter.copy_(value) if isinstance(value, torch.Tensor) else parameter.fill_(value)


# What is done to the network → the finding.
PLANTED = {
    "nan": (lambda net: _fill(net.hidden.weight[0, 0], float("nan")), ("nan", "fault", "hidden")),
    "infinite": (lambda net: _fill(net.head.bias[1], float("inf")), ("infinite", "fault", "head")),
    "zero": (lambda net: _fill(net.head.weight, 0.0), ("zero_weight", "warning", "head")),
    "constant": (lambda net: _fill(net.hidden.weight, 0.5), ("constant_weight", "warning", "hidden")),
    "dead": (lambda net: _fill(net.conv.weight[3], 0.0), ("dead_channels", "warning", "conv")),
    "equal": (
        lambda net: _fill(net.hidden.weight[5], net.hidden.weight[2].clone()), ("equal_channels", "warning", "hidden")
    ),
    "large": (lambda net: _fill(net.hidden.weight[2, 2], 1e5), ("beyond_float16", "warning", "hidden")),
    "denormal": (lambda net: net.head.weight.data.mul_(1e-40), ("denormal", "warning", "head")),
    "negative variance": (lambda net: _fill(net.norm.running_var[2], -1.0), ("negative_variance", "fault", "norm")),
    "no variance": (lambda net: _fill(net.norm.running_var[2], 0.0), ("vanishing_variance", "warning", "norm")),
    "unseen": (lambda net: net.norm.reset_running_stats(), ("untouched_statistics", "warning", "norm")),
    "uneven": (lambda net: net.hidden.weight.data[4].mul_(100), ("uneven_channels", "note", "hidden")),
    "outliers": (lambda net: net.hidden.weight.data[:, 7].mul_(200), ("outliers", "note", "hidden")),
}  # fmt: skip


@pytest.mark.parametrize("fault", PLANTED)
def test_finds_a_planted_fault_of_the_weights(fault, net):
    plant, finding = PLANTED[fault]
    plant(net)
    health = titrant.check_health(net)
    assert finding in kinds(health)
    assert health.ok == (finding[1] == "note")
    assert all(found.helps and found.words for found in health.findings)


ANSWERS = {
    "dead relu": (lambda net: _fill(net.norm.bias, -100.0), ("dead_relu", "warning", "relu")),
    "some dead": (lambda net: _fill(net.norm.bias[:2], -100.0), ("dead_relu", "note", "relu")),
    "saturated": (lambda net: net.hidden.weight.data.mul_(1e4), ("saturated", "warning", "gate")),
    "idle": (lambda net: _fill(net.head.weight, 0.0), ("idle_answer", "warning", "head")),
    "overflow": (lambda net: _fill(net.hidden.weight, 3e38), ("broken_answer", "fault", "hidden")),
}  # fmt: skip


@pytest.mark.parametrize("fault", ANSWERS)
def test_finds_a_planted_fault_of_the_answers(fault, net):
    plant, finding = ANSWERS[fault]
    plant(net)
    assert finding in kinds(titrant.check_health(net, ROWS))


def test_reads_functional_activations_and_layers_of_an_onnx_file(net, tmp_path):
    _fill(net.norm.bias, -100.0)
    _fill(net.head.weight[0], 0.0)
    torch.onnx.export(net, (ROWS,), tmp_path / "net.onnx", dynamo=False, input_names=["image"])
    health = titrant.check_health(tmp_path / "net.onnx", {"image": ROWS.numpy()})
    assert ("dead_channels", "warning", "head") in kinds(health)
    assert "dead_relu" in {found.kind for found in health.findings}


def test_reads_weights_that_stand_outside_an_onnx_file(net, tmp_path):
    import onnx

    _fill(net.hidden.weight[0, 0], float("nan"))
    torch.onnx.export(net, (ROWS,), tmp_path / "net.onnx", dynamo=False)
    model = onnx.load(tmp_path / "net.onnx")
    onnx.save_model(model, tmp_path / "apart.onnx", save_as_external_data=True, location="w", size_threshold=0)
    assert ("nan", "fault", "hidden") in kinds(titrant.check_health(tmp_path / "apart.onnx"))


def test_reads_weights_files_by_the_names_of_their_tensors(net, tmp_path):
    from safetensors.torch import save_file

    _fill(net.conv.weight[3], 0.0)
    _fill(net.norm.running_var[2], 0.0)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    torch.save({"state_dict": net.state_dict()}, tmp_path / "net.pt")
    found = kinds(titrant.check_health(tmp_path / "net.safetensors"))
    assert {("dead_channels", "warning", "conv"), ("vanishing_variance", "warning", "norm")} <= found
    assert ("dead_channels", "warning", "state_dict.conv") in kinds(titrant.check_health(tmp_path / "net.pt"))


def test_reads_programs_by_their_layers_and_scripts_as_a_whole(net, tmp_path):
    _fill(net.hidden.weight[0, 0], float("nan"))
    torch.export.save(torch.export.export(net, (), {"image": ROWS}), tmp_path / "net.pt2")  # taken by name alone
    program = titrant.check_health(tmp_path / "net.pt2", {"image": ROWS.numpy()})
    live = titrant.check_health(net, ROWS)
    assert kinds(titrant.check_health(tmp_path / "net.pt2", ROWS)) == kinds(live)
    assert kinds(program) == kinds(live)
    assert {each.layer for each in program.answers if not each.operation} == {
        each.layer for each in live.answers if not each.operation
    }
    torch.jit.freeze(torch.jit.trace(net, ROWS)).save(tmp_path / "net.pt")
    script = titrant.check_health(tmp_path / "net.pt", {"image": ROWS.numpy()})
    assert ("nan", "fault", "linear_1") in kinds(script)
    assert script.notes[0].startswith("TorchScript does not say which layer computes")
    assert titrant.check_health(tmp_path / "net.pt").notes == ()


def test_leaves_the_module_as_it_was(net):
    net.train()
    net.head.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    titrant.check_health(net, ROWS)
    assert net.training
    assert not net.head.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


def test_reads_one_block_of_a_large_weight_at_a_time():
    import tracemalloc

    layer = nn.Linear(4096, 2048)
    tracemalloc.start()
    titrant.check_health(layer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * layer.weight.numel()  # one copy of it; NumPy tells tracemalloc what it allocates


def test_measures_what_int8_leaves():
    from titrant.runtime.instruments.health.figures import measure
    from titrant.runtime.instruments.subject.subject import subject_of

    layer = nn.Linear(256, 64, bias=False)
    weight = layer.weight.detach().numpy()
    (tensor,) = subject_of(layer).tensors()
    figures = measure(tensor)
    scale = np.abs(weight).max(axis=1, keepdims=True) / 127
    noise = weight - np.rint(weight / scale) * scale
    expected = 10 * np.log10((weight.astype(np.float64) ** 2).sum() / (noise.astype(np.float64) ** 2).sum())
    assert figures.channel_db == pytest.approx(expected, abs=1e-3)
    assert figures.quiet_db <= figures.channel_db

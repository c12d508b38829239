"""sensitivity.fisher: one pass of gradients gives about what the engine measures region by region."""

import numpy as np
import pytest

from titrant.runtime.api import apply
from titrant.runtime.mixture.damage import rank_correlation
from titrant.runtime.values import OnnxModel, Rows, TorchModel

OPTIONS = {"per_channel": False}


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Residual convolutional blocks with normalizations, attention and a head: module, file and layers."""
    import torch
    from torch import nn

    from titrant.runtime.operators.export.onnx import quiet_export

    class Block(nn.Module):
        def __init__(self, read, made):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(read, made, 3, padding=1), nn.Conv2d(made, made, 3, padding=1)
            self.bn1, self.bn2 = nn.BatchNorm2d(made), nn.BatchNorm2d(made)
            self.shortcut = nn.Conv2d(read, made, 1) if read != made else nn.Identity()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            inner += self.shortcut(x)
            return self.relu(inner)

    class Mixer(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

        def forward(self, x):
            rows = x.flatten(2).transpose(1, 2)
            mixed = torch.softmax(self.q(rows) @ self.k(rows).transpose(1, 2) / 3, -1) @ self.v(rows)
            return (rows + self.o(mixed)).mean(1)

    torch.manual_seed(11)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), Block(8, 8), Block(8, 12), Block(12, 12), Mixer(12), nn.Linear(12, 6))
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.2, 2)
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    with quiet_export():
        torch.onnx.export(
            net.eval(), (torch.zeros(2, 1, 8, 8),), path, dynamo=False, opset_version=17, input_names=["x"],
            output_names=["y"], dynamic_axes=axes,
        )  # fmt: skip
    layers = tuple(name for name, part in net.named_modules() if isinstance(part, nn.Conv2d | nn.Linear))
    module = TorchModel(net, "net:Net", {}, "", (("x", ("batch", 1, 8, 8), "float32"),), ("y",))
    return module, OnnxModel(path), layers


def rows_of(role, count=128, seed=5):
    x = np.random.default_rng(seed).normal(size=(count, 1, 8, 8)).astype(np.float32)
    numbers = np.arange(count)
    return Rows(role, {"x": x}, numbers % 6, numbers, numbers.astype(np.uint64), tuple("abcdef"))


def estimated(net, module=None, tuning=None, **params):
    own, model, layers = net
    given = {
        "model": model,
        "module": module or own,
        "calibration": rows_of("calibration"),
        "tuning": tuning or rows_of("tuning"),
    }
    reading = {"task": "multiclass_classification"}
    return apply("sensitivity.fisher", given, {**reading, "layers": layers, "options": OPTIONS, **params})


@pytest.fixture(scope="module")
def plain(net):
    """What is estimated of the net as it is."""
    return estimated(net).outputs


def test_is_near_what_the_engine_measures(net):
    """Residual sums, an in-place ReLU and an attention included: no point that the engine rounds is left out."""
    done = estimated(net, check=True)
    value = done.outputs["sensitivity"]
    assert [region["name"] for region in value["regions"]] == ["0", "1", "2", "3", "4", "5"]
    assert not any(region.get("measured") for region in value["regions"])
    true = value["check"]["regions"]
    ratios = [region["kl"] / true[region["name"]] for region in value["regions"]]
    assert 0.5 < min(ratios) < max(ratios) < 2, ratios
    assert value["check"]["spearman"] > 0.8
    assert value["check"]["spearman"] == rank_correlation(
        [region["kl"] for region in value["regions"]], [*true.values()]
    )
    assert done.measurements["whole_estimated"] == pytest.approx(value["whole"], rel=0.5)


def test_gives_what_sensitivity_regions_gives(net):
    _, model, layers = net
    fisher = estimated(net, rows=48).outputs["sensitivity"]
    given = {"model": model, "calibration": rows_of("calibration"), "tuning": rows_of("tuning")}
    params = {"task": "multiclass_classification", "layers": layers, "options": OPTIONS, "rows": 48}
    engine = apply("sensitivity.regions", given, params).outputs["sensitivity"]
    assert fisher.keys() == engine.keys()
    assert fisher["whole"] == engine["whole"]
    assert fisher["rows"] == engine["rows"] == 48
    assert [entry.keys() for entry in fisher["regions"]] == [entry.keys() for entry in engine["regions"]]


def other_module(net, change):
    import copy

    import torch

    other = copy.deepcopy(net[0])
    with torch.no_grad():
        change(dict(other.module.named_modules()))
    return other


def test_finds_tensors_of_a_file_whose_channels_were_scaled(net, plain):
    """As equalization scales them: what one layer gives is larger, and the next one takes that much less of it."""
    import torch

    def scale(parts):
        by = torch.tensor([0.1, 5, 1, 0.3, 2, 1, 1, 8])
        parts["1.bn1"].weight *= by
        parts["1.bn1"].bias *= by
        parts["1.conv2"].weight /= by[:, None, None]

    value = estimated(net, module=other_module(net, scale)).outputs["sensitivity"]
    assert not any(region.get("measured") for region in value["regions"])
    expected = [region["kl"] for region in plain["sensitivity"]["regions"]]
    assert [region["kl"] for region in value["regions"]] == pytest.approx(expected, rel=0.01)


def test_measures_what_the_module_does_not_compute(net):
    def change(parts):
        for name in ("1.bn1", "2.bn1", "3.bn1"):
            parts[name].weight *= 2
            parts[name].bias += 0.5

    value = estimated(net, module=other_module(net, change), check=True).outputs["sensitivity"]
    told = {region["name"]: region for region in value["regions"]}
    assert [name for name, region in told.items() if region.get("measured")] == ["1", "2", "3", "4", "5"]
    true = value["check"]["regions"]
    assert all(told[name]["kl"] == pytest.approx(true[name]) for name in ("1", "2", "3", "4", "5"))


def test_estimates_the_same_twice_and_leaves_the_module_as_it_was(net, plain):
    module = net[0].module
    before = {name: values.clone() for name, values in module.state_dict().items()}
    assert estimated(net).outputs == plain
    assert all((before[name] == values).all() for name, values in module.state_dict().items())
    assert all(part.grad is None for part in module.parameters())


def test_takes_rows_that_fill_no_batch(net):
    """Of 20 rows the last four count too, and twelve are no reason to measure."""
    tuning = rows_of("tuning", count=20)
    tuning.inputs["x"][16:] *= 3
    as_drawn, others = (estimated(net, tuning=rows) for rows in (rows_of("tuning", count=20), tuning))
    fewer = estimated(net, rows=12)
    regions = [made.outputs["sensitivity"]["regions"] for made in (as_drawn, others, fewer)]
    assert not any(region.get("measured") for made in regions for region in made)
    assert all(one["kl"] != other["kl"] for one, other in zip(*regions[:2], strict=True))

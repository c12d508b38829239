"""What each layer takes, told by every engine: which rows there are, what they are called, and what is in each."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253

from titrant.api.apply import apply
from titrant.api.live.values import live_model
from titrant.runtime.backends import backend, profile
from titrant.runtime.backends.onnxruntime.profile.events import batches
from titrant.runtime.values import CompiledModel, ExportedModel, TorchScriptModel
from titrant.schema.diagnostics.diagnostics import StepError

SHORT = 1e-3  # ten runs of each kind


class Block(torch.nn.Module):
    """Convolution, normalization, activation, and a sum of its own."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.act = torch.nn.ReLU()

    def forward(self, x):
        return self.act(x + self.norm(self.conv(x)))


class Net(torch.nn.Module):
    """One block called twice, attention by hand, a layer of weights that nobody calls."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 4, 3)
        self.block = Block()
        self.again = self.block
        self.unused = torch.nn.Linear(2, 2)
        self.query = torch.nn.Linear(4, 4)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, x):
        x = self.block(self.again(self.stem(x))).flatten(2).transpose(1, 2)
        query = self.query(x)
        return self.head(torch.softmax(query @ x.transpose(1, 2), -1).matmul(x).mean(1))


class Encoder(torch.nn.Module):
    """An encoder layer whose parts torch does not call in evaluation mode, and one that it does."""

    def __init__(self):
        super().__init__()
        self.fused = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.attention = torch.nn.MultiheadAttention(8, 1, batch_first=True, bias=False)

    def forward(self, x):
        x = self.fused(x)
        return self.attention(x, x, x, need_weights=False)[0].mean(1)


def profiled(net, x, engine="torch", **given):
    model = live_model(net.eval(), {"x": x})
    return backend.get(engine).profiled(model, {"x": x}, seconds=SHORT, **given)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def files(image, tmp_path_factory):
    """Return {engine: a file of the same net} and the names of its layers."""
    torch.manual_seed(0)
    net = Net().eval()
    for part in net.modules():
        for parameter in part.parameters(recurse=False):
            torch.nn.init.normal_(parameter)
    live = live_model(net, {"x": image})
    example = {"x": image}
    onnx = apply("export.onnx", {"model": live, "example": example}, scratch=tmp_path_factory.mktemp("onnx"))
    made = {"onnxruntime": onnx.outputs["model"]}
    ir = apply("export.openvino", {"model": made["onnxruntime"], "example": example},
               scratch=tmp_path_factory.mktemp("ir"))  # fmt: skip
    made["openvino"] = ir.outputs["model"]
    return made, tuple(name for name, part in net.named_modules() if not [*part.children()])


def test_lists_modules_once_however_often_they_are_called(image):
    rows = {row.name: row for row in profiled(Net(), image).layers}
    assert list(rows) == ["Net", "stem", "block.conv", "block.norm", "block.act", "query", "head", "unused", ""]
    assert rows["block.conv"].calls == 2
    assert rows["unused"].calls == 0
    assert rows["unused"].seconds == 0
    assert "matmul" in rows["Net"].engine_op  # the attention that it computes itself
    assert "add" in rows[""].engine_op  # the sum of the blocks
    assert rows["stem"].answer_bytes == 2 * 4 * 6 * 6 * 4
    assert rows["stem"].read_bytes == image.nbytes
    assert {row.precision for row in rows.values() if row.calls and row.name} == {"fp32"}


def test_leaves_torchs_fused_encoder_as_it_is():
    rows = {row.name: row for row in profiled(Encoder(), np.ones((2, 4, 8), np.float32)).layers}
    assert list(rows) == ["fused", "attention", ""]
    assert rows["fused"].engine_op == "transformer_encoder_layer_fwd"
    assert "fused.linear1" in rows["fused"].parts
    assert "attention.out_proj" in rows["attention"].parts


def test_leaves_no_hook_behind(image):
    from torch.nn.modules import module

    net = Net()
    profiled(net, image)
    assert not module._global_forward_hooks
    assert not module._global_forward_pre_hooks
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


def test_says_that_a_scripted_part_is_one_layer(image):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.nn.Sequential(torch.jit.script(Block()), torch.nn.Flatten())
    found = profiled(scripted, np.ones((2, 4, 4, 4), np.float32))
    assert [row.name for row in found.layers] == ["0", "1", ""]
    assert found.notes == ("0 is scripted: torch calls no hooks inside it, so that it is one layer",)


def test_counts_watching_for_nobody():
    net = torch.nn.Sequential(*(torch.nn.Identity() for _ in range(60)))
    found = profiled(net, np.ones((1, 4), np.float32))
    watched = found.overhead_seconds
    assert watched > 0
    assert sum(row.seconds for row in found.layers) < watched


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_calls_what_an_engine_fuses_as_the_original_does(engine, files, image):
    made, names = files
    found = backend.get(engine).profiled(made[engine], {"x": image}, layers=names, seconds=SHORT)
    rows = {row.name: row for row in found.layers}
    assert {"stem", "block.conv", "query", "head"} <= {*rows}
    assert "block.act" in rows or any("block.act" in row.joined for row in rows.values())
    assert "unused" not in rows  # no file holds it
    assert rows["block.conv"].precision == "fp32"
    claimed = {part for row in rows.values() for part in row.parts}
    assert any("MatMul" in part for part in claimed)
    assert all(row.seconds >= 0 for row in found.layers)
    assert found.spans[0].seconds >= max(span.seconds for span in found.spans[1:])
    assert found.told_when is (engine == "onnxruntime")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_calls_the_layers_of_a_file_by_its_nodes(engine, files, image):
    made, _ = files
    found = backend.get(engine).profiled(made[engine], {"x": image}, layers=("/stem/Conv",), seconds=SHORT)
    assert "/stem/Conv" in {row.name for row in found.layers}


def test_reads_a_profile_batch_by_batch():
    node = {"cat": "Node", "args": {"op_name": "If", "output_size": "8", "activation_size": "4"}}
    events = [
        {**node, "name": "inner_kernel_time", "ts": 12, "dur": 3},
        {**node, "name": "outer_kernel_time", "ts": 10, "dur": 9},
        {"cat": "Session", "name": "model_run", "ts": 9, "dur": 12, "args": {}},
        {**node, "name": "outer_kernel_time", "ts": 30, "dur": 5},
        {"cat": "Session", "name": "model_run", "ts": 29, "dur": 8, "args": {}},
    ]
    one, two = batches(events, 2)
    assert [(node.name, round(node.own * 1e6)) for node in one.nodes] == [("outer", 6), ("inner", 3)]
    assert [node.name for node in two.nodes] == ["outer"]
    (whole,) = batches(events, 1)  # a file of a fixed batch size runs twice for one batch
    assert len(whole.nodes) == 3


def test_takes_the_quiet_runs_and_not_the_very_fastest():
    values = [9.0, 1.0, 2.0, 3.0, 50.0, 8.0, 7.0, 60.0, 70.0, 80.0]
    assert profile.undisturbed(values) == 2.5
    assert profile.undisturbed([4.0]) == 4.0


def test_takes_off_what_a_profiler_adds_and_then_what_others_took():
    once = {"a": (100e-6, 1), "b": (2e-6, 1)}
    assert profile.without_profiler(once, 200e-6, "It") == ({"a": 100e-6, "b": 2e-6}, ())
    alone, notes = profile.without_profiler(once, 100e-6, "It")
    assert sum(alone.values()) == pytest.approx(100e-6)
    assert alone["a"] == pytest.approx(99e-6)
    assert notes == ("each run of an operation is counted 1.0 µs less than It says: it adds that",)
    alone, notes = profile.without_profiler(once, 48e-6, "It")
    assert alone == {"a": pytest.approx(48e-6), "b": 0.0}
    assert notes[1] == "It tells time by the clock, of which others or it took 50%: they are taken off"


def test_adds_rows_up_over_the_runs_that_the_whole_is_of():
    values = [5.0, 1.0, 4.0, 2.0, 3.0, 9.0, 7.0, 6.0, 8.0, 10.0]
    places = profile.undisturbed_runs(values)
    assert [values[place] for place in places] == [2.0, 3.0]
    assert sum(values[place] for place in places) / len(places) == profile.undisturbed(values)
    assert profile.undisturbed_runs([3.0]) == (0,)


@pytest.mark.parametrize(("added", "inside"), [(6e-6, 4e-6), (1e-9, 1e-6), (1.0, 6e-6)])
def test_scales_the_cost_of_watching_to_what_it_added_within_bounds(added, inside):
    from titrant.runtime.backends.torch.layer_times import _HookCost

    cost = _HookCost(2e-6, 1e-6, 2e-6, 1e-6).fitted(added, by_cpu=True)
    assert (cost.inside, cost.cpu_around) == (pytest.approx(inside), pytest.approx(inside / 2))


def test_collects_no_garbage_while_it_counts():
    import gc

    gc.enable()
    with profile.uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.parametrize("kind", [TorchScriptModel, ExportedModel, CompiledModel])
def test_refuses_what_runs_as_one(kind):
    with pytest.raises(StepError, match=r"X680: torch runs a .* as one, without hooks inside it"):
        backend.get("torch").profiled(kind(Path("model.pt")), {"x": np.ones((1, 1, 6, 6), np.float32)})


def test_refuses_an_engine_that_tells_nothing():
    with pytest.raises(StepError, match="X680: this engine does not tell what its layers take"):
        profile.nothing_profiled(None, {})


def test_imports_nothing_heavy_to_declare_a_profile():
    code = "import sys, titrant.runtime.backends.profile; print({'torch', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

"""torch.export and TorchScript files show what the module itself shows: layers, flow, parameters and FLOPs."""

import pytest
import torch  # noqa: TID253 - the tests write files of torch's
from tests.runtime.instruments.architecture.nets import IMAGE, Deciding, ResNet, Twice

import titrant
from titrant.runtime.instruments.architecture.architecture import Architecture
from titrant.runtime.instruments.architecture.layer_graph import LayerGraph
from titrant.runtime.instruments.architecture.readers.read import read
from titrant.schema.values.canonical import read_back


def read_file(operator, file, **more):
    key = operator.partition("_")[2]
    params = {key: {"path": str(file), "digest": "d"}, **more}
    return Architecture(read_back(LayerGraph, read({"steps": {f"model.{operator}": params}})["architecture"]))


@pytest.fixture(scope="module")
def net():
    return ResNet(2).eval()


def test_reads_a_program_as_its_module(net, tmp_path):
    torch.export.save(torch.export.export(net, (IMAGE,)), tmp_path / "net.pt2")
    drawn, live = read_file("load_exported", tmp_path / "net.pt2"), titrant.architecture(net, IMAGE)
    assert (drawn.parameters, drawn.flops) == (live.parameters, live.flops)
    assert (drawn.graph.inputs, drawn.graph.outputs) == (("image",), ("output",))
    layers = {operation.name for operation in live.operations if operation.parameters}
    assert {operation.name for operation in drawn.operations if operation.parameters} == layers
    assert drawn.graph.kinds["layer.0"] == "Residual"
    assert "× 2" in drawn.plot().svg


def test_draws_a_program_that_calls_a_layer_twice(tmp_path):
    torch.export.save(torch.export.export(Twice().eval(), (torch.zeros(2, 4),)), tmp_path / "twice.pt2")
    drawn = read_file("load_exported", tmp_path / "twice.pt2")
    assert drawn.parameters == 20
    assert [operation.parameters for operation in drawn.operations if operation.kind == "Linear"] == [20, 0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_reads_a_script_as_its_module(net, tmp_path):
    torch.jit.script(net).save(str(tmp_path / "net.pt"))
    inputs = [{"name": "image", "shape": ["batch", 3, 8, 8], "dtype": "float32"}]
    drawn = read_file("load_torchscript", tmp_path / "net.pt", inputs=inputs)
    assert drawn.parameters == titrant.count_parameters(net).total
    assert drawn.graph.shapes["image"] == ("batch", 3, 8, 8)
    assert [operation.name for operation in drawn.operations if operation.parameters][:2] == ["stem", "layer.0.conv1"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_draws_the_branches_of_a_script_as_one_box(tmp_path):
    torch.jit.script(Deciding().eval()).save(str(tmp_path / "net.pt"))
    drawn = read_file("load_torchscript", tmp_path / "net.pt", inputs=[])
    assert [operation.kind for operation in drawn.operations] == ["sum", "If"]

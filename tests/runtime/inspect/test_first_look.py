"""A first look at a large graph opens nothing and says so; all else is what a whole look finds."""

import numpy as np
import onnx  # noqa: TID253 - the tests build tiny graphs
import pytest
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.inspect import inspect
from titrant.runtime.inspect import onnx as reading
from titrant.schema.facts import ModelFacts
from titrant.schema.values.canonical import read_back

NOTE = "a first look at 3 nodes: not opened in onnxruntime, nor tried with other batches, as a plan does"


@pytest.fixture
def graph(tmp_path):
    """Return what writes a graph of three nodes with a weight, whose first operator may be one that nobody knows."""

    def write(first="Relu", weight=1.0):
        weights = [numpy_helper.from_array(np.full((4, 4), weight, np.float32), "w")]
        nodes = [
            helper.make_node(first, ["x"], ["a"], domain="" if first == "Relu" else "own"),
            helper.make_node("MatMul", ["a", "w"], ["b"]),
            helper.make_node("Identity", ["b"], ["y"]),
        ]
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy"]
        made = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
        return {"model.load_onnx": {"onnx": {"path": str(tmp_path / "m.onnx"), "digest": "d"}}}

    return write


def facts(steps, **asked):
    return read_back(ModelFacts, inspect.inspect({"steps": steps, **asked})["model"])


def test_finds_what_a_whole_look_finds_and_says_what_it_left_out(graph, monkeypatch):
    whole = facts(graph())
    assert facts(graph(), first_look=True) == whole
    monkeypatch.setattr(reading, "OPENED_NODES", 2)
    brief = facts(graph(), first_look=True)
    assert brief.notes == (*whole.notes, NOTE)
    assert brief.layers == whole.layers
    assert (brief.parameters, brief.flops, brief.work) == (16, 32, whole.work)


def test_opens_what_is_planned_from_however_large_it_is(graph, monkeypatch):
    monkeypatch.setattr(reading, "OPENED_NODES", 2)
    with pytest.raises(Exception, match="X161"):
        facts(graph("Unheard"))
    assert NOTE in facts(graph("Unheard"), first_look=True).notes


def test_names_each_weight_that_holds_nan(graph):
    (note,) = (each for each in facts(graph(weight=float("nan")), first_look=True).notes if "NaN" in each)
    assert note == "16 of the 16 numbers of its weight `w` are NaN"

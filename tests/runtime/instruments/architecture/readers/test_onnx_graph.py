"""ONNX graphs: blocks by names, quantized layers marked, shapes left out, control flow in one box."""

import json

import numpy as np
import onnx  # noqa: TID253 - the tests build tiny graphs
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.instruments.architecture.architecture import Architecture
from titrant.runtime.instruments.architecture.layer_graph import LayerGraph
from titrant.runtime.instruments.architecture.readers.read import read
from titrant.schema.values.canonical import read_back


def saved(tmp_path, nodes, weights, shape=("batch", 4), out=("batch", 4)):
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(size)) for name, size in (("x", shape), ("y", out))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "m.onnx")
    file = {"path": str(tmp_path / "m.onnx"), "digest": "d"}
    answer = json.loads(json.dumps(read({"steps": {"model.load_onnx": {"onnx": file}}})))
    return Architecture(read_back(LayerGraph, answer["architecture"]))


def block(place, read, named):
    names = [f"/layers/layers.{place}/{kind}" if named else "" for kind in ("fc/MatMul", "Relu")]
    return [
        helper.make_node("MatMul", [read, f"w{place}"], [f"m{place}"], name=names[0]),
        helper.make_node("Relu", [f"m{place}"], [f"r{place}"], name=names[1]),
    ]


def chain(count, named):
    nodes = [node for place in range(count) for node in block(place, f"r{place - 1}" if place else "x", named)]
    nodes.append(helper.make_node("Identity", [f"r{count - 1}"], ["y"], name="/end/Identity" if named else ""))
    return nodes, {f"w{place}": np.ones((4, 4), np.float32) for place in range(count)}


def test_takes_blocks_from_names_and_folds_them(tmp_path):
    drawn = saved(tmp_path, *chain(6, named=True))
    assert drawn.operations[0].block == ("layers", "0", "fc")
    assert "× 6" in drawn.plot().svg
    assert (drawn.parameters, drawn.flops) == (96, 192)


def test_finds_what_repeats_itself_where_names_say_nothing(tmp_path):
    assert "× 8" in saved(tmp_path, *chain(8, named=False)).plot().svg


def test_marks_quantized_layers_and_hides_what_only_converts(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["dw"]),
        helper.make_node("MatMul", ["d", "dw"], ["y"], name="fc"),
    ]
    weights = {
        "w": np.arange(16, dtype=np.int8).reshape(4, 4),
        "s": np.float32(0.1).reshape(()),
        "z": np.int8(0).reshape(()),
    }
    drawn = saved(tmp_path, nodes, weights)
    layer = next(operation for operation in drawn.operations if operation.name == "fc")
    assert (layer.precision, layer.quantized) == ("int8", True)
    svg = drawn.plot().svg
    assert "int8" in svg
    assert 'quantized"' in svg
    assert "QuantizeLinear" not in svg
    assert drawn.notes == ("not drawn: 3 nodes to quantize or dequantize; the layers between them are marked",)


def test_leaves_out_what_computes_with_shapes_alone(tmp_path):
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"]),
        helper.make_node("Concat", ["rows", "four"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"], name="reshape"),
    ]
    drawn = saved(tmp_path, nodes, {"zero": np.array([0]), "four": np.array([4])})
    assert [operation.kind for operation in drawn.operations if not operation.hidden] == ["Reshape"]
    assert drawn.notes == ("not drawn: 3 nodes with nothing but shapes and constants to read",)


def test_draws_control_flow_as_one_box(tmp_path):
    def branch(kind):
        out = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(kind, ["x"], ["b"])], kind, [], [out])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], name="if", then_branch=branch("Relu"), else_branch=branch("Neg")),
    ]
    drawn = saved(tmp_path, nodes, {"zero": np.float32(0).reshape(())})
    box = drawn.operations[-1]
    assert (box.kind, box.detail, box.inputs) == ("If", "2 nodes", ("positive", "x"))
    assert drawn.notes == ("control flow: 1 box of If, Loop or Scan, in which the data decide what runs",)

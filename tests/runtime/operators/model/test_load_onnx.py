"""ONNX files: checked, external weights brought along, and what is too new or broken named."""

import numpy as np
import onnx  # noqa: TID253 - the tests build tiny graphs
import pytest
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.backends import kinds
from titrant.runtime.backends.onnxruntime import apart
from titrant.runtime.backends.onnxruntime import graph as graphs
from titrant.runtime.backends.session import open_session
from titrant.runtime.operators.model.load_onnx import load_onnx, open_check, read_onnx
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import StepError


def graph(opset=17, op="MatMul", domain="", ir=10):
    weight = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    node = helper.make_node(op, ["x", "w"], ["y"], domain=domain)
    shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", s]) for n, s in (("x", 3), ("y", 2))]
    domains = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(
        helper.make_graph([node], "g", shapes[:1], shapes[1:], [weight]), opset_imports=domains, ir_version=ir
    )


def refused(path, code):
    def look():
        read_onnx(str(path))
        open_check(str(path))

    with pytest.raises(StepError) as caught:
        look()
    assert caught.value.diagnostics[0].code == code
    assert "\n" not in caught.value.diagnostics[0].message
    return caught.value.diagnostics[0].message


def test_copies_a_file_without_external_data_byte_for_byte(tmp_path):
    onnx.save(graph(), tmp_path / "m.onnx")
    (tmp_path / "scratch").mkdir()
    loaded = load_onnx(str(tmp_path / "m.onnx"), tmp_path / "scratch")
    assert loaded.path.read_bytes() == (tmp_path / "m.onnx").read_bytes()


def test_brings_external_weights_inside(tmp_path):
    onnx.save(graph(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "scratch").mkdir()
    loaded = load_onnx(str(tmp_path / "m.onnx"), tmp_path / "scratch")
    (tmp_path / "w.bin").unlink()
    open_check(str(loaded.path))
    assert "w.bin" in refused(tmp_path / "m.onnx", "X160")


def test_leaves_weights_outside_where_no_file_can_hold_them_all(tmp_path, monkeypatch):
    weight = np.arange(600, dtype=np.float32).reshape(3, 200)
    large = graph()
    large.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    large.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 200
    onnx.save(large, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    monkeypatch.setattr(graphs, "LIMIT", graphs._MARGIN_BYTES + 1_000)
    place, kept = tmp_path / "scratch", tmp_path / "kept"
    place.mkdir()
    kept.mkdir()
    kinds.save("onnx", load_onnx(str(tmp_path / "m.onnx"), place), kept)
    assert {file.name for file in kept.iterdir()} == {"model.onnx", apart.DATA}
    assert (kept / "model.onnx").stat().st_size < 1_000
    (tmp_path / "w.bin").unlink()
    with open_session("onnxruntime", kinds.load("onnx", kept), threads=1) as session:
        answers = session.run({"x": np.ones((2, 3), np.float32)})["y"]
    np.testing.assert_array_equal(answers, np.broadcast_to(weight.sum(0), (2, 200)))


def test_leaves_large_weights_outside_that_stood_there_before(tmp_path, monkeypatch):
    weight, shape = np.arange(600, dtype=np.float32).reshape(3, 200), np.array([-1, 200])
    held = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(shape, "s")]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Reshape", ["m", "s"], ["y"])]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", s]) for n, s in (("x", 3), ("y", 200))]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    monkeypatch.setattr(apart, "APART_BYTES", weight.nbytes)
    monkeypatch.setattr(apart, "PIECE_BYTES", 1000)
    place = tmp_path / "scratch"
    place.mkdir()
    loaded = load_onnx(str(tmp_path / "m.onnx"), place).path
    assert (place / apart.DATA).read_bytes() == weight.tobytes()
    # What shapes are inferred of comes inside.
    outside = {
        item.name: apart.is_apart(item) for item in onnx.load(loaded, load_external_data=False).graph.initializer
    }
    assert outside == {"w": True, "s": False}
    with open_session("onnxruntime", OnnxModel(loaded), threads=1) as session:
        np.testing.assert_array_equal(session.run({"x": np.ones((1, 3), np.float32)})["y"], weight.sum(0)[None])


@pytest.mark.parametrize("place", ["../w.bin", "/w.bin"])
def test_reads_no_weights_outside_the_folder(place, tmp_path):
    model = graph()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", place), ("length", str(1 << 30))):
        tensor.external_data.add(key=key, value=value)
    with pytest.raises(ValueError, match="outside the model's folder"):
        apart.settle(model, tmp_path, apart=True)


def test_names_what_is_missing_or_broken(tmp_path):
    assert "there is no file" in refused(tmp_path / "gone.onnx", "X160")
    (tmp_path / "broken.onnx").write_bytes(b"not a protobuf \xff\xff\xff")
    refused(tmp_path / "broken.onnx", "X160")
    (tmp_path / "empty.onnx").write_bytes(b"")
    refused(tmp_path / "empty.onnx", "X160")
    invalid = graph()
    invalid.graph.node[0].input[0] = "nobody"
    onnx.save(invalid, tmp_path / "invalid.onnx")
    refused(tmp_path / "invalid.onnx", "X160")


def test_refuses_an_opset_or_ir_version_that_is_too_new(tmp_path):
    onnx.save(graph(opset=999), tmp_path / "m.onnx")
    assert "has opset 999" in refused(tmp_path / "m.onnx", "X161")
    onnx.save(graph(ir=99), tmp_path / "m.onnx")
    assert "IR version 99" in refused(tmp_path / "m.onnx", "X161")


def test_refuses_operators_that_onnxruntime_does_not_know(tmp_path):
    onnx.save(graph(op="Secret", domain="my.own"), tmp_path / "m.onnx")
    assert "Secret" in refused(tmp_path / "m.onnx", "X161")


def outside(folder, *, held_by):
    """A product whose nodes have one name, and whose weight stands in a file beside it."""
    weight = numpy_helper.from_array(np.eye(40, dtype=np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"], "same"), helper.make_node("Relu", ["m"], ["y"], "same")]
    if held_by == "Constant":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weight))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 40]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight] if held_by == "initializer" else [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file = folder / "m.onnx"
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0, convert_attribute=True)
    return file


@pytest.mark.parametrize("held_by", ["initializer", "Constant"])
def test_finds_weights_outside_and_mends_the_graph_that_reads_them(held_by, tmp_path):
    from titrant.runtime.backends.onnxruntime.session import open_session
    from titrant.runtime.data.parameters import File
    from titrant.runtime.inspect.onnx import describe_onnx
    from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams

    file = outside(tmp_path, held_by=held_by)
    facts = describe_onnx(ModelLoadOnnxParams(onnx=File(path=str(file), digest="d")), None)
    assert "weights outside the file are brought inside" in facts.notes
    assert "1 nodes whose names stood before are renamed" in facts.notes
    (tmp_path / "scratch").mkdir()
    x = np.random.default_rng(0).normal(size=(2, 40)).astype(np.float32)
    with open_session(load_onnx(str(file), tmp_path / "scratch"), threads=1) as session:
        np.testing.assert_allclose(session.run({"x": x})["y"], np.maximum(x, 0), rtol=1e-6)


@pytest.mark.parametrize("held_by", ["initializer", "Constant"])
def test_says_which_file_of_weights_is_missing(held_by, tmp_path):
    file = outside(tmp_path, held_by=held_by)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(StepError, match=r"X160.*there is no file weights.bin"):
        read_onnx(str(file))


@pytest.mark.parametrize("place", ["../kept/weights.bin", "/kept/weights.bin"])
def test_says_that_weights_lie_outside_the_folder(place, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "model").mkdir()
    file = outside(tmp_path / "model", held_by="initializer")
    (tmp_path / "model" / "weights.bin").rename(tmp_path / "kept" / "weights.bin")
    model = onnx.load(file, load_external_data=False)
    location = next(item for item in model.graph.initializer[0].external_data if item.key == "location")
    location.value = place if place.startswith("..") else str(tmp_path / place[1:])
    file.write_bytes(model.SerializeToString())
    with pytest.raises(StepError, match=r"X160: m.onnx keeps weights outside its folder, in \S+weights.bin") as caught:
        read_onnx(str(file))
    assert [refused.help for refused in caught.value.diagnostics] == [
        "export it again with its weights beside it, or inside"
    ]

"""ONNX files: checked, external weights brought inside, and what is too new or broken named."""

import numpy as np
import onnx  # noqa: TID253 - the tests build tiny graphs
import pytest
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.operators.model.load_onnx import load_onnx, open_check, read_onnx
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

"""quantize.ort_nbits on weights in a file beside the graph: the same bytes, with few weights in memory at once."""

import math
import subprocess
import sys

import numpy as np
import onnx  # noqa: TID253 - its very subject
import pytest
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.api import apply
from titrant.runtime.backends.onnxruntime import apart
from titrant.runtime.backends.onnxruntime.graph import read
from titrant.runtime.backends.onnxruntime.session import _is_mapped
from titrant.runtime.backends.onnxruntime.titration import adaround
from titrant.runtime.data.parameters import File
from titrant.runtime.inspect.onnx import describe_onnx
from titrant.runtime.operators.model import load_onnx
from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams
from titrant.runtime.operators.quantize import ort_nbits
from titrant.runtime.operators.validate import predict
from titrant.runtime.values import OnnxModel, Rows
from titrant.schema.cost import ModelUse, Work
from titrant.schema.diagnostics.diagnostics import PreconditionError
from titrant.schema.facts import Hardware, HardwareIdentity
from titrant.schema.values.frozen import replace

WIDTH, NAMES = 96, 300
# One graph each: nodes as (operation, inputs, outputs, attributes), and the weights that they read.
FORMS = {
    "gemm": [("Gemm", "x w b", "y", {"transB": 1})],
    "gemm, weight as it is multiplied": [("Gemm", "x w b", "y", {})],
    "gemm, scaled": [("Gemm", "x w b", "y", {"alpha": 0.5, "transB": 1})],
    "matmul": [("MatMul", "x w", "m", {}), ("Add", "m b", "y", {})],
    "transposed": [("Transpose", "w", "t", {"perm": [1, 0]}), ("MatMul", "x t", "y", {})],
    "transposed by default": [("Transpose", "w", "t", {}), ("MatMul", "x t", "y", {})],
    "transposed, as a bias too": [("Transpose", "w", "t", {}), ("MatMul", "x t", "m", {}), ("Add", "m k", "y", {})],
    "not transposed": [("Transpose", "w", "t", {"perm": [0, 1]}), ("MatMul", "x t", "y", {})],
    "read twice": [("MatMul", "x w", "m", {}), ("MatMul", "m w", "y", {})],
    "read both ways": [("Gemm", "x w b", "m", {"transB": 1}), ("Gemm", "m w b", "y", {})],
    "added": [("MatMul", "x w", "m", {}), ("Add", "m row", "y", {})],
    "scaled by a node": [("Mul", "w two", "t", {}), ("MatMul", "x t", "y", {})],
    "both": [("MatMul", "w x", "m", {}), ("MatMul", "x w", "o", {}), ("Add", "m o", "y", {})],
    "tied": [("Gather", "table i", "e", {}), ("ReduceMean", "e", "r", {"axes": [1], "keepdims": 0}),
             ("Add", "r x", "s", {}), ("Transpose", "table", "t", {}), ("MatMul", "s t", "y", {})],
    "a bias of several rows": [("Gemm", "x w wide", "y", {"transB": 1})],
    "normalized after": [("MatMul", "x w", "m", {}), ("BatchNormalization", "m b b b a", "y", {})],
}  # fmt: skip


def written(form, folder):
    random = np.random.default_rng(0)
    held = {
        "w": random.normal(size=(WIDTH, WIDTH)), "b": random.normal(size=WIDTH), "a": np.ones(WIDTH),
        "k": random.normal(size=(1, WIDTH)), "row": random.normal(size=(1, WIDTH)), "two": np.array(2.0),
        "table": random.normal(size=(NAMES, WIDTH)), "wide": random.normal(size=(1, WIDTH)),
    }  # fmt: skip
    nodes = [helper.make_node(kind, read_.split(), [out], out, **more) for kind, read_, out, more in FORMS[form]]
    names = {name for node in nodes for name in node.input}
    tied, rows = form == "tied", WIDTH if form == "both" else "n"
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, WIDTH])]
    ends += [helper.make_tensor_value_info("i", TensorProto.INT64, ["n", 3])] if tied else []
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, NAMES if tied else WIDTH])
    tensors = [numpy_helper.from_array(held[name].astype(np.float32), name) for name in held if name in names]
    graph = helper.make_graph(nodes, "g", ends, [answer], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file = folder / "model.onnx"
    onnx.save(model, file, save_as_external_data=True, location=apart.DATA, size_threshold=1024)
    return OnnxModel(file)


def plain(model):
    """Order attributes: onnxruntime lists them as they come."""
    for node in model.graph.node:
        listed = sorted(node.attribute, key=lambda item: item.name)
        del node.attribute[:]
        node.attribute.extend(listed)
    return model.SerializeToString(deterministic=True)


@pytest.mark.parametrize("params", [{"bits": 4}, {"bits": 8, "symmetric": True}, {"algorithm": "hqq", "block": 32}])
@pytest.mark.parametrize("form", FORMS)
def test_gives_the_bytes_of_a_model_that_is_read_whole(form, params, tmp_path, monkeypatch):
    model = written(form, tmp_path)
    whole = apply("quantize.ort_nbits", {"model": model}, params).outputs["model"]
    monkeypatch.setattr(apart, "APART_BYTES", 0)
    monkeypatch.setattr(apart, "PIECE_BYTES", 7 * 4 * WIDTH)  # a few rows at once
    made = apply("quantize.ort_nbits", {"model": model}, params).outputs["model"]
    assert plain(read(made.path)) == plain(read(whole.path))


def test_leaves_layers_in_fp32_beside_the_file(tmp_path, monkeypatch):
    model, params = written("read both ways", tmp_path), {"leave": ("m",)}
    whole = apply("quantize.ort_nbits", {"model": model}, params).outputs["model"]
    monkeypatch.setattr(apart, "APART_BYTES", 0)
    made = apply("quantize.ort_nbits", {"model": model}, params).outputs["model"]
    assert plain(read(made.path)) == plain(read(whole.path))
    left = {
        tensor.name: apart.is_apart(tensor)
        for tensor in onnx.load(made.path, load_external_data=False).graph.initializer
    }
    assert left["w_transposed"]


def test_releases_weights_beside_the_file_that_had_them_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "APART_BYTES", 0)
    made = apply("quantize.ort_nbits", {"model": written("gemm", tmp_path)}).outputs["model"].path
    assert sorted(file.name for file in made.parent.iterdir()) == ["model.onnx", apart.DATA]
    numbers = [
        tensor for tensor in onnx.load(made, load_external_data=False).graph.initializer if apart.is_apart(tensor)
    ]
    assert sum(math.prod(tensor.dims) for tensor in numbers) == (made.parent / apart.DATA).stat().st_size


def test_trains_adaround_on_weights_that_are_read_whole(tmp_path, monkeypatch):
    model, random = written("gemm", tmp_path), np.random.default_rng(1)
    rows = Rows(
        "calibration", {"x": random.normal(size=(8, WIDTH)).astype(np.float32)}, None, np.arange(8), np.arange(8)
    )
    monkeypatch.setattr(adaround, "_STEPS", 5)
    given, params = {"model": model, "calibration": rows}, {"rounding": "adaround", "bits": 4}
    whole = apply("quantize.ort_nbits", given, params).outputs["model"].path.read_bytes()
    monkeypatch.setattr(apart, "APART_BYTES", 0)
    assert apply("quantize.ort_nbits", given, params).outputs["model"].path.read_bytes() == whole


def test_refuses_weights_beside_the_file_that_are_not_finite(tmp_path, monkeypatch):
    model = written("gemm", tmp_path)
    numbers = np.memmap(tmp_path / apart.DATA, np.float32, "r+")
    numbers[-3:-1] = np.nan, np.inf
    numbers.flush()
    monkeypatch.setattr(apart, "APART_BYTES", 0)
    with pytest.raises(PreconditionError, match=r"X260: the weight w.* holds 1 NaN and 1 infinite"):
        apply("quantize.ort_nbits", {"model": model})


def test_packs_no_copies_of_fp32_weights_beside_a_file_and_those_of_rounded_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "APART_BYTES", 1024)
    model = written("gemm", tmp_path)
    made = apply("quantize.ort_nbits", {"model": model}).outputs["model"]
    assert (_is_mapped(model.path), _is_mapped(made.path)) == (True, False)


def test_predicts_little_more_than_the_largest_weight(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "APART_BYTES", 1024)
    file = File(path=str(written("gemm", tmp_path).path), digest="d")
    facts = describe_onnx(ModelLoadOnnxParams(onnx=file), None)
    assert facts.apart_bytes == 4 * WIDTH**2
    (note,) = (note for note in facts.notes if note.startswith("weights outside the file are large and stay there"))
    assert "gains over it at such batches is that much too high" in note
    size = 4 * 4096**2
    layer = replace(facts.layers[0], weight_shape=(4096, 4096), parameters=4096**2 + 4096, weight_bytes=size + 4 * 4096)
    beside = replace(facts, layers=(layer,) * 64, weight_bytes=64 * layer.weight_bytes, apart_bytes=64 * size)
    machine = Hardware(HardwareIdentity("linux", "x86_64", "", (), 1, None, (), "3.11", {}))
    peaks = {
        name: ort_nbits.predict(ort_nbits.OrtNbitsParams(**params), machine, beside).peak_bytes
        for name, params in {"nearest": {}, "adaround": {"rounding": "adaround"}}.items()
    }
    assert size < peaks["nearest"] < 4 * size
    assert peaks["adaround"] == 5 * beside.weight_bytes
    work = Work(models={"model": ModelUse(kind="onnx", bytes=beside.weight_bytes)}, rows={"rows": 100})
    assert predict.predict(predict.PredictParams(engine="onnxruntime"), machine, beside, work).peak_bytes < 65 * size
    assert load_onnx.predict(ModelLoadOnnxParams(onnx=file), machine, beside).peak_bytes < size


MEASURED = """
import resource, sys
from pathlib import Path
from titrant.runtime.api import apply
from titrant.runtime.backends.onnxruntime.session import load
from titrant.runtime.operators.model.load_onnx import load_onnx
import onnx, onnxruntime, numpy, titrant.runtime.backends.onnxruntime.nbits, titrant.runtime.backends.onnxruntime.tools

def bytes_of(key):
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return int(line.split()[1]) << 10

folder = Path(sys.argv[1])
before = bytes_of("VmHWM")
model = load_onnx(str(folder / "given.onnx"), folder / "loaded")
made = apply("quantize.ort_nbits", {"model": model}, {"bits": 4}, scratch=folder / "made").outputs["model"]
peak, held = bytes_of("VmHWM") - before, bytes_of("RssAnon")
session = load(model.path, threads=1)
session.run(None, {"x": numpy.ones((2, int(sys.argv[2])), numpy.float32)})
print(peak, bytes_of("RssAnon") - held, onnx.load(made.path, load_external_data=False).ByteSize())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process's memory by kind")
def test_holds_a_fraction_of_a_large_model_at_any_time(tmp_path):
    width, layers = 2048, 18
    names = [f"w{place}" for place in range(layers)]
    nodes = [
        helper.make_node("Gemm", [f"x{at}" if at else "x", name], [f"x{at + 1}"], transB=1)
        for at, name in enumerate(names)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name in ("x", f"x{layers}")]
    tensors = [TensorProto(name=name, dims=[width, width], data_type=1, data_location=1) for name in names]
    for place, tensor in enumerate(tensors):
        said = {"location": "w.bin", "offset": place * 4 * width**2, "length": 4 * width**2}
        for key, value in said.items():
            tensor.external_data.add(key=key, value=str(value))
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "given.onnx").write_bytes(model.SerializeToString())
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(layers * 4 * width**2)  # zeros that take no disk
    for folder in ("loaded", "made"):
        (tmp_path / folder).mkdir()
    size = layers * 4 * width**2
    assert size > apart.APART_BYTES
    call = [sys.executable, "-c", MEASURED, str(tmp_path), str(width)]
    peak, opened, graph_bytes = map(
        int, subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()
    )
    assert peak < size / 2
    assert opened < size / 10
    assert graph_bytes < 20_000

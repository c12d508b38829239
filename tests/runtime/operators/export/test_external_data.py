"""An ONNX file's weights can stand in a file beside it: it answers alike, wherever both are put together."""

import shutil
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - the format's own library
import onnxruntime  # noqa: TID253 - the format's own library
import pytest

from titrant.runtime.backends import backend, kinds
from titrant.runtime.backends.onnxruntime import graph
from titrant.runtime.backends.onnxruntime.apart import DATA
from titrant.runtime.backends.onnxruntime.graph import read, write
from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.home import open_home
from titrant.schema.diagnostics.diagnostics import StepError


@pytest.fixture
def whole(torch_model, rows, apply):
    model = torch_model("TinyNet", 1, 6, 6, channels=64)
    return apply("export.onnx", {"model": model, "example": rows(1, 6, 6)}).outputs["model"]


@pytest.fixture
def apart(whole, apply):
    return apply("export.external_data", {"model": whole}).outputs["model"]


def answers(path, rows):
    return onnxruntime.InferenceSession(str(path)).run(None, {"x": rows(1, 6, 6, count=5).inputs["x"]})[0]


def test_answers_as_the_file_that_holds_its_weights(whole, apart, rows):
    outside = {item.name for item in onnx.load(apart.path, load_external_data=False).graph.initializer
               if item.data_location == onnx.TensorProto.EXTERNAL}  # fmt: skip
    assert outside
    assert apart.path.stat().st_size < whole.path.stat().st_size
    assert np.array_equal(answers(apart.path, rows), answers(whole.path, rows))
    assert read(apart.path) == read(whole.path)


def test_is_kept_as_two_files_and_comes_back_with_both(apart, rows, tmp_path):
    store = Store(open_home(tmp_path / "home"))
    artifact = store.put("onnx", apart)
    assert [*store.manifest(artifact).files] == ["model.onnx", DATA]
    assert artifact.size == apart.path.stat().st_size + (apart.path.parent / DATA).stat().st_size
    loaded = store.get(artifact, tmp_path / "place")
    assert np.array_equal(answers(loaded.path, rows), answers(apart.path, rows))
    assert store.put("onnx", loaded).digest == artifact.digest


def test_is_read_back_layer_by_layer(whole, apart):
    executed = [backend.get("onnxruntime").executed(model, threads=1) for model in (whole, apart)]
    assert executed[0] == executed[1]


def test_can_be_quantized_all_the_same(apart, whole, apply, rows):
    quantized = [apply("quantize.ort_dynamic", {"model": model}).outputs["model"].path for model in (whole, apart)]
    assert np.array_equal(answers(quantized[0], rows), answers(quantized[1], rows))


def test_keeps_weights_apart_that_one_file_cannot_hold(whole, tmp_path, monkeypatch):
    write(read(whole.path), tmp_path / "model.onnx")
    assert not (tmp_path / DATA).exists()
    monkeypatch.setattr(graph, "LIMIT", graph._MARGIN_BYTES + 1024)
    written = write(read(whole.path), tmp_path / "model.onnx")
    assert (tmp_path / DATA).is_file()
    assert read(written.path) == read(whole.path)


def test_says_that_the_weights_are_not_beside_it(apart, tmp_path):
    alone = Path(shutil.copy(apart.path, tmp_path / "model.onnx"))
    with pytest.raises(StepError, match=r"X209: model\.onnx keeps weights in a file that cannot be read"):
        read(alone)
    with pytest.raises(StepError, match=r"X212: onnxruntime cannot load model\.onnx"):
        backend.get("onnxruntime").open(kinds.load("onnx", tmp_path), threads=1)

"""The onnxruntime methods on graphs as exporters write them: the file loads, answers nearly as before, and is int8."""

import tempfile
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - its very subject
import onnx_graphs
import pytest
from hypothesis import given, settings

from titrant.runtime.api import apply
from titrant.runtime.values import Rows

# Of the largest answer: one layer and a head in 7 and 8 bits.
CLOSE = 0.05


def quantized(graph, method, folder, **params):
    """Quantize a graph as it was read from a file; returns the file and what was measured."""
    from titrant.runtime.operators.model.load_onnx import load_onnx

    source = folder / "source.onnx"
    onnx.save(graph.model, source)
    loaded = folder / "loaded"
    loaded.mkdir()
    inputs = {"model": load_onnx(str(source), loaded)}
    if method == "static":
        numbers = np.arange(onnx_graphs.ROWS)
        ids = numbers.astype(np.uint64)
        inputs["calibration"] = Rows("calibration", graph.rows, None, numbers, ids, ("a", "b"), 1)
    scratch = folder / "scratch"
    scratch.mkdir()
    done = apply(f"quantize.ort_{method}", inputs, params, scratch=scratch)
    return done.outputs["model"].path, done.measurements


def difference(first, second):
    return float(np.abs(first.astype(float) - second.astype(float)).max() / np.abs(second.astype(float)).max())


@pytest.mark.parametrize("method", ["static", "dynamic"])
@settings(max_examples=60)
@given(graph=onnx_graphs.written())
def test_answers_nearly_as_the_graph_does_however_it_was_written(method, graph):
    before = onnx_graphs.answers(graph.model, graph.rows)
    with tempfile.TemporaryDirectory() as place:
        path, _ = quantized(graph, method, Path(place))
        after = onnx_graphs.answers(path, graph.rows)
        layers = onnx_graphs.integers(path)
    assert after.shape == before.shape
    assert difference(after, before) < CLOSE
    assert layers == onnx_graphs.in_integers(graph, method)

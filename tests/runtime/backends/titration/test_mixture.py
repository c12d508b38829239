"""Mixtures are the graphs that quantize.ort_static writes, from ranges that are measured once."""

import onnx  # noqa: TID253 - its very subject
import pytest
from chain_nets import Chain, residual, rows_of

from titrant.runtime.api import PlainContext, apply
from titrant.runtime.backends import backend
from titrant.runtime.backends.onnxruntime.titration import mixture
from titrant.runtime.backends.onnxruntime.titration.regions import regions
from titrant.runtime.operators.quantize.ort_static import OrtStaticParams, int8
from titrant.runtime.values import OnnxModel


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Three residual blocks between two layers: the file, and the names of its layers."""
    net = Chain("x")
    at = net.layer("x", "stem")
    for place in range(3):
        at = net.node("Relu", [residual(net, at, f"blocks.{place}")])
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(net.done(net.layer(at, "head")), path)
    return OnnxModel(path), net.layers


def mixtures(model, folder, **params):
    return mixture.Mixtures(model, rows_of(64, "x"), int8(OrtStaticParams(**params)), PlainContext(1, 1, folder))


@pytest.mark.parametrize("params", [{}, {"per_channel": False, "calibration": "percentile", "activation_type": "int8"}])
def test_writes_the_bytes_of_the_operator_for_each_choice_of_layers(net, params, tmp_path, monkeypatch):
    model, layers = net
    measured = []
    monkeypatch.setattr(
        mixture, "ranges", lambda *args, own=mixture.ranges, **options: measured.append(1) or own(*args, **options)
    )
    made = mixtures(model, tmp_path, **params)
    for place, leave in enumerate(((), ("stem",), layers[1:3], layers[:-1], ())):
        given = {"model": model, "calibration": rows_of(64, "x")}
        scratch = tmp_path / str(place)
        scratch.mkdir()
        counted = len(measured)
        written, nodes = made.file(leave, "mix.onnx")
        assert len(measured) == counted
        alone = apply("quantize.ort_static", given, {**params, "leave": tuple(leave)}, scratch=scratch)
        assert written.path.read_bytes() == alone.outputs["model"].path.read_bytes()
        assert nodes == alone.measurements["quantized_nodes"] == len(layers) - len(leave)


def test_quantizes_one_region_alone_with_its_residual_sum(net, tmp_path):
    model, layers = net
    made = mixtures(model, tmp_path)
    block = regions(made.graph, layers)[2]
    written = made.built(block.nodes)
    ran = {layer.name: layer.precision for layer in backend.get("onnxruntime").executed(written, layers=layers)}
    assert ran == {name: "int8" if name in block.layers else "fp32" for name in layers}
    graph = onnx.load(written.path).graph
    makers = {node.output[0]: node.op_type for node in graph.node}
    unpacked = {
        node.name: {makers.get(tensor) == "DequantizeLinear" for tensor in node.input}
        for node in graph.node
        if node.op_type == "Add"
    }
    assert list(unpacked.values()).count({True}) == 1
    assert all(unpacked[name] == {name in block.nodes} for name in unpacked)

"""Layers that `leave` names run in float in anybody's session, all others in int8: the file itself sees to that."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.backends import backend
from titrant.runtime.backends.onnxruntime import left_float
from titrant.runtime.values import OnnxModel

BLOCKS = ("conv", "depthwise", "residual", "pool")


def net_of(blocks):
    """Build a net of blocks, some with a batch normalization, a ReLU or neither behind each convolution."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, relu):
            super().__init__()
            self.conv1, self.conv2 = (nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(2))
            self.bn1, self.bn2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
            self.relu = nn.ReLU() if relu else nn.Identity()

        def forward(self, x):
            return self.relu(x + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))

    torch.manual_seed(len(blocks))
    parts = [nn.Conv2d(3, 8, 3, padding=1)]
    for kind, norm, relu in blocks:
        if kind == "residual":
            parts.append(Residual(relu))
            continue
        if kind == "pool":
            parts.append(nn.MaxPool2d(2, 1))
            continue
        groups = 8 if kind == "depthwise" else 1
        parts.append(nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=not norm))
        parts += [nn.BatchNorm2d(8)] * norm + [nn.ReLU()] * relu
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)]
    net = nn.Sequential(*parts, *head).eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    layers = [name for name, part in net.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    return net, layers


def export(net, path, shape=(3, 8, 8)):
    import torch

    from titrant.runtime.operators.export.onnx import quiet_export

    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}}
    with quiet_export():
        torch.onnx.export(net, (torch.zeros(2, *shape),), path, dynamo=False, opset_version=17, **names)
    return OnnxModel(path)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """Quantize a file statically, leaving some layers."""
    from titrant.runtime.api import apply
    from titrant.runtime.values import Rows

    def make(model, leave, *, shape=(3, 8, 8), **params):
        x = np.random.default_rng(3).normal(size=(16, *shape)).astype(np.float32)
        numbers = np.arange(len(x))
        calibration = Rows("calibration", {"x": x}, None, numbers, numbers.astype(np.uint64), (), None)
        given_inputs = {"model": model, "calibration": calibration}
        scratch = tmp_path_factory.mktemp("quantized")
        made = apply("quantize.ort_static", given_inputs, {"leave": tuple(leave), **params}, scratch=scratch)
        return made.outputs["model"], x

    return make


def precisions(model, layers):
    return {layer.name: layer.precision for layer in backend.get("onnxruntime").executed(model, layers=layers)}


def answered(model, x, **options):
    import onnxruntime

    return onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"], **options).run(
        None, {"x": x}
    )[0]


@settings(max_examples=10)
@given(
    blocks=st.lists(st.tuples(st.sampled_from(BLOCKS), st.booleans(), st.booleans()), min_size=1, max_size=4),
    chosen=st.integers(0, 2**12 - 1),
    per_channel=st.booleans(),
)
def test_leaves_exactly_the_layers_named(blocks, chosen, per_channel, quantized, tmp_path_factory):
    net, layers = net_of(blocks)
    leave = [name for place, name in enumerate(layers) if chosen >> (place % 12) & 1][: len(layers) - 1]
    model = export(net, tmp_path_factory.mktemp("net") / "net.onnx")
    made, _ = quantized(model, leave, per_channel=per_channel)
    assert precisions(made, layers) == {name: "fp32" if name in leave else "int8" for name in layers}


@pytest.mark.parametrize("leave", [("kept",), ("first", "kept")])
def test_keeps_weights_that_a_quantized_layer_shares(leave, quantized, tmp_path):
    import onnx

    shared = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Gemm", [given, weight, "bias"], [made], name=name)
        for name, given, weight, made in (
            ("first", "x", "first.weight", "a"), ("kept", "a", "shared", "b"), ("other", "b", "shared", "y"),
        )
    ]  # fmt: skip
    held = {"first.weight": shared.T, "shared": shared, "bias": np.linspace(0, 0.1, 8, dtype=np.float32)}
    values = [onnx.helper.make_tensor_value_info(name, 1, ["batch", 8]) for name in ("x", "y")]
    tensors = [onnx.numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in held.items()]
    graph = onnx.helper.make_graph(nodes, "shared", values[:1], values[1:], tensors)
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "net.onnx",
    )
    made, _ = quantized(OnnxModel(tmp_path / "net.onnx"), leave, shape=(8,))
    layers = ("first", "kept", "other")
    assert precisions(made, layers) == {name: "fp32" if name in leave else "int8" for name in layers}
    written = onnx.load(made.path).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in written.initializer}
    weight = next(node.input[1] for node in written.node if node.name == "kept")
    np.testing.assert_array_equal(arrays[weight], shared)


@pytest.fixture(scope="module")
def trap(tmp_path_factory):
    """Nine blocks, whose first convolutions shall stay in float between quantized ones: the file that the tool writes.

    Returns the model, the tool's file, the names of all layers and of those that stay.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    class Reader:
        batches = iter([{"x": np.random.default_rng(3).normal(size=(16, 3, 8, 8)).astype(np.float32)}])

        def get_next(self):
            return next(self.batches, None)

    net, layers = net_of([("residual", True, False)] * 9)
    folder = tmp_path_factory.mktemp("trap")
    model = export(net, folder / "net.onnx")
    left = [name for name in layers if name.endswith("conv1")]
    nodes = [f"/{name.replace('.', '/')}/Conv" for name in left]
    written = folder / "quantized.onnx"
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    tool = {"quant_format": QuantFormat.QDQ, "per_channel": True, "nodes_to_exclude": nodes, **types}
    quantize_static(model.path, written, Reader(), **tool)
    return model, OnnxModel(written), layers, left


def test_guards_what_the_engine_would_quantize_anew(trap, tmp_path):
    """What the file says is not what runs: the defect that is guarded against is there, in this onnxruntime."""
    import onnx

    _, written, layers, left = trap
    ran = precisions(written, layers)
    assert Counter(ran[name] for name in left) == {"int8": 9}
    graph = onnx.load(written.path)
    assert left_float.guard(graph) == 9
    onnx.save(graph, tmp_path / "guarded.onnx")
    guarded = OnnxModel(tmp_path / "guarded.onnx")
    assert precisions(guarded, layers) == {name: "fp32" if name in left else "int8" for name in layers}
    x = np.random.default_rng(4).normal(size=(16, 3, 8, 8)).astype(np.float32)
    as_written = answered(written, x, disabled_optimizers=["WeightBiasQuantization"])
    # A value that lies between two numbers of int8 may go to either, by the order in which floats are added.
    apart = np.abs(answered(guarded, x) - as_written) / np.abs(as_written).max()
    assert np.median(apart) < 1e-5
    assert apart.max() < 0.02


def test_runs_in_float_in_a_plain_session(trap, quantized):
    model, _, layers, left = trap
    made, _ = quantized(model, left)
    assert precisions(made, layers) == {name: "fp32" if name in left else "int8" for name in layers}


def test_gives_what_reads_nothing_unpacked_no_guard(trap):
    import onnx

    graph = onnx.load(trap[0].path)  # all in float
    before = len(graph.graph.node)
    assert left_float.guard(graph) == 0
    assert len(graph.graph.node) == before


def test_keeps_what_lies_between_left_layers_in_float_too(quantized, tmp_path):
    import onnx

    net, layers = net_of([("residual", True, True)] * 3)
    block = [name for name in layers if name.startswith("3.")]
    made, _ = quantized(export(net, tmp_path / "net.onnx"), block)
    graph = onnx.load(made.path).graph
    makers = {node.output[0]: node for node in graph.node}
    (second,) = (node for node in graph.node if node.name == "/3/conv2/Conv")
    assert makers[second.input[0]].op_type == "Relu"
    assert makers[makers[second.input[0]].input[0]].op_type == "Conv"

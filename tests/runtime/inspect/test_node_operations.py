"""In an ONNX graph as many ranges of activations are counted as in the module that it was made of."""

import math
from functools import partial

import pytest
import torch  # noqa: TID253 - the file defines modules
from torch import nn  # noqa: TID253

from titrant.runtime import catalog
from titrant.runtime.backends.torch.determinism import plain_attention
from titrant.runtime.data.parameters import File
from titrant.runtime.inspect.graph.constants import constants
from titrant.runtime.inspect.graph.node_operations import node_operations
from titrant.runtime.inspect.onnx import describe_onnx
from titrant.runtime.inspect.torch_forward import run_forward
from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams
from titrant.runtime.values import TorchModel
from titrant.schema.facts import Hardware, HardwareIdentity, TensorSpec

MACHINE = Hardware(HardwareIdentity("linux", "x86_64", "", (), 2, None, (), "3.11", {}))


class Branches(nn.Module):
    """Convolutions that read one tensor, are joined and added, and a gate over channels: (batch, 3, 8, 8)."""

    def __init__(self, width=8):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.wide, self.narrow = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 1)
        self.join = nn.Conv2d(3 * width, width, 1)
        self.squeeze, self.excite = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        branches = [torch.relu(self.wide(x)), torch.relu(self.narrow(x)), torch.max_pool2d(x, 3, 1, 1)]
        x = torch.relu(self.join(torch.cat(branches, 1))) + x
        x = x * torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return self.head(x.mean((2, 3)))


class Attending(nn.Module):
    """Layers of torch's own encoder over rows: (batch, 6, size)."""

    def __init__(self, first=False, activation="gelu", size=8):
        super().__init__()
        layer = nn.TransformerEncoderLayer(size, 2, 2 * size, batch_first=True, norm_first=first, activation=activation)
        self.layers, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(size, 2)

    def forward(self, x):
        return self.head(self.layers(x).mean(1))


class Written(nn.Module):
    """Attention whose scores are scaled, with norms and an approximate GELU written out: (batch, 6, 8)."""

    def __init__(self):
        super().__init__()
        self.queries, self.keys, self.values = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.wide, self.head, self.gain = nn.Linear(8, 16), nn.Linear(16, 2), nn.Parameter(torch.ones(8))

    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        x = (x - mean) / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + 1e-5) * self.gain
        scores = self.queries(x) @ self.keys(x).transpose(1, 2) * 8**-0.5
        x = x + torch.softmax(scores, -1) @ self.values(x)
        x = self.wide(x)
        x = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return self.head(x * torch.sigmoid(x)).mean(1)


class Depthwise(nn.Module):
    """Three convolutions of single channels: (batch, 3, 8, 8)."""

    def __init__(self, width=256):
        super().__init__()
        single = [nn.Sequential(nn.Conv2d(width, width, 3, padding=1, groups=width), nn.ReLU()) for _ in range(3)]
        self.stem, self.single, self.head = nn.Conv2d(3, width, 1), nn.Sequential(*single), nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.single(torch.relu(self.stem(x))).mean((2, 3)))


class Recurrent(nn.Module):
    """An LSTM of two directions: (batch, 6, 8)."""

    def __init__(self):
        super().__init__()
        self.steps, self.head = nn.LSTM(8, 64, batch_first=True, bidirectional=True), nn.Linear(128, 2)

    def forward(self, x):
        return self.head(self.steps(x)[0][:, -1])


def read(module, shape, apply, rows):
    """Return the operations of a module's ONNX file, and the ranges that are counted in the module."""
    import onnx

    spec = ("x", ("batch", *shape), "float32")
    with plain_attention():
        counted = run_forward("a net", module.eval(), (TensorSpec(*spec),), "unlabeled").exported.ranges
    model = TorchModel(module, "m:Net", {}, "", (spec,), ("logits",))
    file = apply("export.onnx", {"model": model, "example": rows(*shape)}).outputs["model"].path
    graph = onnx.load(file).graph
    return node_operations(graph, constants(graph)), counted


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (Branches, (3, 8, 8)),
        (Attending, (6, 8)),
        (partial(Attending, first=True, activation="relu"), (6, 8)),
    ],
    ids=["convolutions", "attention", "norms first"],
)
def test_counts_in_a_file_what_is_counted_in_its_module(module, shape, apply, rows):
    torch.manual_seed(0)
    in_file, in_module = read(module(), shape, apply, rows)
    assert in_file.ranges() == in_module > 0


def test_reads_what_is_fused_as_one_operation(apply, rows):
    in_file, _ = read(Written(), (6, 8), apply, rows)
    names = [operation.name for operation in in_file.operations]
    assert names == [
        "native_layer_norm", "mm", "add", "mm", "add", "permute", "mm", "add", "_dot_product", "add", "mm", "add",
        "gelu", "silu", "mm", "add", "mean",
    ]  # fmt: skip
    # What is averaged and normalized, products, and what is added; queries and keys, and no values.
    assert in_file.ranges() == 8


@pytest.mark.parametrize(
    ("module", "shape"),
    [(Depthwise, (3, 8, 8)), (Recurrent, (6, 8)), (partial(Attending, size=64), (6, 64))],
    ids=["depthwise", "both directions", "attention"],
)
def test_predicts_the_size_of_what_is_made_of_a_file(module, shape, apply, rows):
    pytest.importorskip("nncf")
    torch.manual_seed(0)
    module = module().eval()
    for parameter in module.parameters():  # copies of a layer hold the same numbers, which a file would hold once
        parameter.data += 0.01 * torch.randn_like(parameter)
    model = TorchModel(module, "m:Net", {}, "", (("x", ("batch", *shape), "float32"),), ("logits",))
    plain = apply("export.onnx", {"model": model, "example": rows(*shape)}).outputs["model"]
    facts = describe_onnx(ModelLoadOnnxParams(onnx=File(path=str(plain.path), digest="d")), None)
    for operator in ("export.openvino", "quantize.openvino_ptq", "quantize.ort_dynamic"):
        declaration = catalog.get(operator)
        ports = {port: rows(*shape) for port in ("example", "calibration") if port in declaration.inputs}
        made = apply(operator, {"model": plain, **ports}).outputs["model"].path
        size = sum(file.stat().st_size for file in made.parent.glob("model.*")) if "openvino" in operator else 0
        size = size or made.stat().st_size
        predicted = declaration.predict(declaration.params(), MACHINE, facts).output_bytes
        assert abs(predicted - size) < max(0.03 * size, 3_000), operator


def test_reads_no_graph_with_a_node_that_it_does_not_know():
    import onnx

    nodes = [onnx.helper.make_node(kind, names, ["y"]) for kind, names in (("Gemm", ["x", "w"]), ("Det", ["x"]))]
    value = [onnx.helper.make_tensor_value_info(name, 1, [None, 4]) for name in ("x", "y")]
    weight = onnx.helper.make_tensor("w", 1, [4, 4], [0.0] * 16)
    known, unknown = (onnx.helper.make_graph([node], "g", value[:1], value[1:], [weight]) for node in nodes)
    assert node_operations(known, constants(known)).ranges() == 1
    assert node_operations(unknown, constants(unknown)) is None

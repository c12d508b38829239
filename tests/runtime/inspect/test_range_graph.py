"""In an ONNX graph of convolutions as many ranges of activations are counted as in the module that it was made of."""

import torch  # noqa: TID253 - the file defines modules
from torch import nn  # noqa: TID253

from titrant.runtime.backends.torch.determinism import plain_attention
from titrant.runtime.inspect.graph.constants import constants
from titrant.runtime.inspect.graph.range_graph import node_ranges
from titrant.runtime.inspect.torch_forward import run_forward
from titrant.runtime.values import TorchModel
from titrant.schema.facts import TensorSpec


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


class Written(nn.Module):
    """A convolution with a norm that is written out, which an engine may fuse: (batch, 3, 8, 8)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.stem(x)
        return x / torch.sqrt((x * x).mean((1, 2, 3), keepdim=True) + 1e-5)


def exported(module, rows, apply):
    """Return the ranges of a module's ONNX file, and of the module."""
    import onnx

    spec = ("x", ("batch", 3, 8, 8), "float32")
    with plain_attention():
        counted = run_forward("a net", module.eval(), (TensorSpec(*spec),), "unlabeled").exported.ranges
    model = TorchModel(module, "m:Net", {}, "", (spec,), ("logits",))
    file = apply("export.onnx", {"model": model, "example": rows(3, 8, 8)}).outputs["model"].path
    graph = onnx.load(file).graph
    return node_ranges(graph, constants(graph)), counted


def test_counts_in_a_file_what_is_counted_in_its_module(rows, apply):
    torch.manual_seed(0)
    in_file, in_module = exported(Branches(), rows, apply)
    assert in_file == in_module > 0


def test_counts_none_where_an_engine_may_fuse_nodes_by_patterns_of_its_own(rows, apply):
    in_file, in_module = exported(Written(), rows, apply)
    assert (in_file, in_module > 0) == (0, True)


def test_counts_none_without_a_convolution():
    import onnx

    node = onnx.helper.make_node("Gemm", ["x", "w"], ["y"])
    value = [onnx.helper.make_tensor_value_info(name, 1, [None, 4]) for name in ("x", "y")]
    weight = onnx.helper.make_tensor("w", 1, [4, 4], [0.0] * 16)
    graph = onnx.helper.make_graph([node], "g", value[:1], value[1:], [weight])
    assert node_ranges(graph, constants(graph)) == 0

"""Every node of an exported, quantized or optimized graph is traced to the layer of the original that it computes."""

from collections import Counter

import numpy as np
import onnx  # noqa: TID253 - its very subject
import pytest
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends import backend
from titrant.runtime.backends.onnxruntime.layer_names import GraphNames, layers_by_node
from titrant.runtime.values import OnnxModel

ROWS = 8
PLACES = ((0, 1), (0, 2), (1, 1), (1, 2))


@pytest.fixture(scope="module")
def nets():
    """Nets that exporters and engines rename, fuse, fold and tie, each with rows and the layers to be found."""
    import torch
    from torch import nn

    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)

        def forward(self, x):
            return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 3, padding=1)
            self.layer1 = nn.Sequential(Block(16), Block(16))
            self.depthwise = nn.Conv2d(16, 16, 3, groups=16, padding=1, bias=False)
            self.pointwise = nn.Conv2d(16, 32, 1, bias=False)
            self.fc = nn.Linear(32, 10, bias=False)

        def forward(self, x):
            wide = nn.functional.relu6(self.depthwise(self.layer1(torch.relu(self.stem(x)))))
            return self.fc(self.pointwise(wide).mean((2, 3)))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(40, 32)
            make = nn.TransformerEncoderLayer
            self.blocks = nn.ModuleList(make(32, 4, 64, batch_first=True) for _ in range(2))
            self.proj = nn.ModuleList([nn.Linear(32, 32, bias=False) for _ in range(2)])
            self.shared = nn.Linear(32, 32)
            self.raw = nn.Parameter(torch.randn(32, 32))
            self.head = nn.Linear(32, 40, bias=False)
            self.head.weight = self.emb.weight

        def forward(self, x):
            held = self.emb(x)
            for block, proj in zip(self.blocks, self.proj, strict=True):
                held = proj(block(held))
            return self.head(self.shared(torch.relu(self.shared(held))) @ self.raw)

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            deep = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())
            self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), deep, nn.Linear(16, 3))
            self.rnn = nn.LSTM(8, 8, batch_first=True)

        def forward(self, x):
            return self.net(self.rnn(x)[0][:, -1])

    others = ("proj.0", "proj.1", "shared", "head")
    attention = ("self_attn", "self_attn.out_proj", "linear1", "linear2")
    return {
        "residual": (
            Residual().eval(),
            torch.randn(ROWS, 3, 8, 8),
            (*("stem", "depthwise", "pointwise", "fc"), *(f"layer1.{place}.conv{number}" for place, number in PLACES)),
        ),
        "encoder": (
            Encoder().eval(),
            torch.randint(0, 40, (ROWS, 7)),
            ("Encoder", "emb", *(f"blocks.{place}.{name}" for place in (0, 1) for name in attention), *others),
        ),
        "recurrent": (Recurrent().eval(), torch.randn(ROWS, 5, 8), ("net.0", "net.2.0", "net.3", "rnn")),
    }


@pytest.fixture(scope="module")
def exported(nets, tmp_path_factory):
    import torch

    from titrant.runtime.backends.torch.determinism import plain_attention
    from titrant.runtime.operators.export.onnx import quiet_export

    folder = tmp_path_factory.mktemp("exported")
    for name, (net, example, _) in nets.items():
        axes = {"x": {0: "batch"}, "y": {0: "batch"}}
        names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
        with quiet_export(), plain_attention():
            torch.onnx.export(net, (example,), folder / f"{name}.onnx", dynamo=False, opset_version=17, **names)
    return folder


@pytest.fixture
def made(nets, exported, apply, rows):
    """Make a file of a net by a method; exporting it is the fp32 one."""

    def make(name, method, **params):
        model = OnnxModel(exported / f"{name}.onnx")
        if method == "fp32":
            return model
        example = {"calibration": rows(x=nets[name][1].numpy())} if method == "static" else {}
        return apply(f"quantize.ort_{method}", {"model": model, **example}, params).outputs["model"]

    return make


METHODS = [("fp32", {}), ("static", {"per_channel": True}), ("static", {"per_channel": False}), ("dynamic", {})]


@pytest.mark.parametrize(("method", "params"), METHODS)
@pytest.mark.parametrize("name", ["residual", "encoder", "recurrent"])
def test_finds_every_layer_whatever_was_fused_folded_or_quantized(name, method, params, nets, made):
    layers = nets[name][2]
    ran = backend.get("onnxruntime").executed(made(name, method, **params), layers=layers)
    assert [layer for layer in ran if not layer.name] == []
    times = Counter(layer.name for layer in ran)
    assert set(times) == set(layers)
    assert {layer for layer, count in times.items() if count > 1} <= {"shared"}


def test_names_nodes_by_some_of_the_layers_and_takes_no_other_for_them(nets, exported):
    """`blocks.0.self_attn` holds a module that is a layer of its own, a tied weight has the name of another."""
    graph = onnx.load(exported / "encoder.onnx").graph
    some = layers_by_node(graph, ["blocks.0.self_attn", "emb", "shared"])
    assert Counter(some.values()) == {"blocks.0.self_attn": 1, "emb": 1, "shared": 2}
    assert set(layers_by_node(graph, ["blocks.1.self_attn.out_proj"]).values()) == {"blocks.1.self_attn.out_proj"}
    assert layers_by_node(graph, ["blocks"]) == {}


def product(name, x, weight, y):
    return helper.make_node("MatMul", [x, weight], [y], name=name)


def graph_of(nodes, weights):
    spec = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    return helper.make_graph(nodes, "g", spec[:1], spec[1:], held)


def test_tells_nodes_apart_whose_names_differ_by_a_number():
    weights = {name: np.eye(4, dtype=np.float32) * scale for scale, name in enumerate(("a", "b"), 2)}
    graph = graph_of([product("fc", "x", "a", "h"), product("fc_1", "h", "b", "y")], weights)
    assert layers_by_node(graph, ["fc"]) == {"fc": "fc"}
    assert layers_by_node(graph, ["fc_1"]) == {"fc_1": "fc_1"}
    assert layers_by_node(graph, ["fc", "fc_1"], inside=True) == {"fc": "fc", "fc_1": "fc_1"}


@pytest.mark.parametrize("holder", ["layers.0", "layers.layers.0"])
def test_finds_the_layers_of_a_list_that_has_the_name_of_what_holds_it(holder):
    """An exporter writes one way to a module of a list for both: /layers/layers.0/fc."""
    graph = graph_of([product("/layers/layers.0/fc/MatMul", "x", "a", "y")], {"a": np.eye(4, dtype=np.float32)})
    layers = [f"{holder}.fc", "head"]
    assert layers_by_node(graph, layers, inside=True) == {"/layers/layers.0/fc/MatMul": f"{holder}.fc"}


def test_calls_nodes_without_a_name_after_their_operator_and_place():
    weights = {name: np.eye(4, dtype=np.float32) for name in ("a", "b")}
    graph = graph_of(
        [product("", "x", "a", "h"), helper.make_node("Relu", ["h"], ["r"]), product("", "r", "b", "y")], weights
    )
    assert layers_by_node(graph, ["MatMul_0", "MatMul_2"]) == {"MatMul_0": "MatMul_0", "MatMul_2": "MatMul_2"}


def test_finds_modules_by_their_weights_where_a_newer_exporter_names_nodes_by_their_kind():
    weights = {"block.fc.weight": np.eye(4, dtype=np.float32), "val_3": np.eye(4, dtype=np.float32)}
    weights["out.bias"] = np.ones(4, np.float32)
    nodes = [product("node_linear", "x", "block.fc.weight", "h"), product("node_MatMul_5", "h", "val_3", "m")]
    nodes.append(helper.make_node("Add", ["m", "out.bias"], ["y"], name="node_linear_1"))
    assert layers_by_node(graph_of(nodes, weights), ["block.fc", "out"], inside=True) == {
        "node_linear": "block.fc",
        "node_MatMul_5": "out",
    }


def test_counts_neither_positions_nor_norms_as_layers():
    weights = {"position": np.ones((1, 4), np.float32), "a": np.eye(4, dtype=np.float32)}
    nodes = [helper.make_node("Add", ["x", "position"], ["h"], name="add"), product("fc", "h", "a", "y")]
    assert set(GraphNames.of(graph_of(nodes, weights)).weights) == {"fc"}


def test_says_of_a_product_that_it_cannot_place_that_it_is_no_layer_of_the_original(tmp_path):
    weights = {"a": np.eye(4, dtype=np.float32)}
    model = helper.make_model(
        graph_of([product("loose", "x", "a", "y")], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, tmp_path / "model.onnx")
    (ran,) = backend.get("onnxruntime").executed(OnnxModel(tmp_path / "model.onnx"), layers=["somewhere.else"])
    assert (ran.name, ran.node, ran.precision, ran.engine_op) == ("", "loose", "fp32", "MatMul")

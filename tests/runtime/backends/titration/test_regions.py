"""Regions hold whole blocks, each layer is in one, and where a graph cannot be parted a region says so."""

import onnx  # noqa: TID253 - its very subject
import pytest
from chain_nets import Chain, residual
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.backends.onnxruntime.titration.regions import MOST_REGIONS, regions


def parted(chain, *outputs):
    return {region.name: region.layers for region in regions(chain.done(*outputs), chain.layers)}


def test_keeps_a_residual_block_whole():
    net = Chain("x")
    at = net.layer("x", "stem")
    for place in range(3):
        at = net.node("Relu", [residual(net, at, f"blocks.{place}")])
    expected = {f"blocks.{place}": (f"blocks.{place}.fc0", f"blocks.{place}.fc1") for place in range(3)}
    assert parted(net, net.layer(at, "head")) == {"stem": ("stem",), **expected, "head": ("head",)}


def test_gives_a_residual_sum_to_the_block_that_it_ends():
    net = Chain("x")
    at = residual(net, net.layer("x", "stem"), "block")
    graph = net.done(net.layer(at, "head"))
    _, block, head = regions(graph, net.layers)
    assert at.removesuffix("_output_0") in block.nodes
    assert len(head.nodes) == 1
    assert not block.inseparable


def test_keeps_an_inverted_residual_without_its_shortcut_whole():
    net = Chain("x")
    at = net.layer("x", "stem")
    for place in range(2):
        for part in ("expand", "depthwise", "project"):
            at = net.layer(at, f"blocks.{place}.{part}.0")
    assert list(parted(net, net.layer(at, "head"))) == ["stem", "blocks.0", "blocks.1", "head"]


def test_parts_attention_from_feed_forward():
    net = Chain("x")
    at = net.layer("x", "embed")
    for place in range(2):
        q, k, v = (net.layer(at, f"layers.{place}.attention.{name}") for name in "qkv")
        mixed = net.node("MatMul", (net.node("Softmax", [net.node("MatMul", (q, k))]), v))
        at = net.node("Add", (net.layer(mixed, f"layers.{place}.attention.o"), at))
        at = residual(net, at, f"layers.{place}.mlp")
    expected = [f"layers.{place}.{part}" for place in range(2) for part in ("attention", "mlp")]
    assert list(parted(net, net.layer(at, "head"))) == ["embed", *expected, "head"]


def test_parts_a_net_with_long_skips_by_its_stages():
    net, skips = Chain("x"), []
    at = "x"
    for stage in ("down1", "down2", "down3"):
        at = net.layer(net.layer(at, f"{stage}.0"), f"{stage}.1")
        skips.append(at)
    at = net.layer(net.layer(at, "middle.0"), "middle.1")
    for stage, skip in zip(("up3", "up2", "up1"), reversed(skips), strict=True):
        at = net.node("Add", (net.layer(at, f"{stage}.0"), skip))
        at = net.layer(at, f"{stage}.1")
    found = parted(net, net.layer(at, "head"))
    assert {"down1", "down2"} <= set(found)
    assert max(len(layers) for layers in found.values()) <= 4


def test_parts_the_branches_of_two_inputs():
    net = Chain("image", "table")
    ends = []
    for branch in ("image", "table"):
        at = branch
        for place in range(3):
            at = residual(net, at, f"{branch}.{place}")
        ends.append(at)
    found = parted(net, net.layer(net.node("Add", ends), "head"))
    assert list(found) == [*(f"{branch}.{place}" for branch in ("image", "table") for place in range(3)), "head"]


def test_keeps_parallel_branches_of_one_module_whole():
    net = Chain("x")
    at = net.layer("x", "stem")
    for place in range(3):
        ends = [net.layer(net.layer(at, f"mixed.{place}.b{b}.0"), f"mixed.{place}.b{b}.1") for b in range(3)]
        at = net.node("Sum", ends)
    assert list(parted(net, net.layer(at, "head"))) == ["stem", "mixed.0", "mixed.1", "mixed.2", "head"]


def test_says_which_region_cannot_be_separated():
    net = Chain("x")
    streams = [net.layer("x", f"first{stream}") for stream in range(5)]
    for step in range(4):  # each stream reads all of them
        mixed = net.node("Sum", streams)
        streams = [net.layer(net.node("Add", (mixed, at)), f"mix{step}{place}") for place, at in enumerate(streams)]
    graph = net.done(net.layer(net.node("Sum", streams), "head"))
    found = regions(graph, net.layers)
    assert [region.inseparable for region in found].count(True) == 1
    assert next(len(region.layers) for region in found if region.inseparable) > 4


def test_gives_a_layer_that_is_called_twice_one_region():
    net = Chain("x")
    at = net.layer(net.layer(net.layer("x", "first"), "tied"), "second")
    found = parted(net, net.layer(net.again(at, "tied"), "head"))
    assert sum("tied" in layers for layers in found.values()) == 1


def test_joins_neighbours_of_a_deep_net_until_few_are_left():
    net = Chain("x")
    at = net.layer("x", "stem")
    for place in range(40):
        at = residual(net, at, f"stages.{place // 20}.{place}")
    found = parted(net, net.layer(at, "head"))
    assert len(found) == MOST_REGIONS
    assert not any({name.split(".")[1] for name in layers if "." in name} == {"0", "1"} for layers in found.values())


def test_leaves_out_what_has_no_node_with_weights():
    net = Chain("x")
    graph = net.done(net.layer("x", "head"))
    assert [region.layers for region in regions(graph, ["norm", "head", "lost"])] == [("head",)]
    assert regions(graph, []) == ()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    def make(net, *shapes):
        import torch

        from titrant.runtime.backends.onnxruntime.tools import prepared
        from titrant.runtime.operators.export.onnx import quiet_export

        folder = tmp_path_factory.mktemp("exported")
        given_inputs = tuple(torch.zeros(2, *shape) for shape in shapes)
        with quiet_export():
            torch.onnx.export(net.eval(), given_inputs, folder / "net.onnx", dynamo=False, opset_version=17)
        kinds = (torch.nn.Conv2d, torch.nn.Linear, torch.nn.LSTM)
        layers = [name for name, part in net.named_modules() if isinstance(part, kinds)]
        return prepared(folder / "net.onnx", folder)[0], layers

    return make


def test_parts_an_exported_residual_network(exported):
    from torch import nn

    class Block(nn.Module):
        def __init__(self, read, made):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(read, made, 3, padding=1), nn.Conv2d(made, made, 3, padding=1)
            self.bn1, self.bn2 = nn.BatchNorm2d(made), nn.BatchNorm2d(made)
            self.shortcut = nn.Conv2d(read, made, 1) if read != made else nn.Identity()

        def forward(self, x):
            inner = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return (inner + self.shortcut(x)).relu()

    net = nn.Sequential(nn.Conv2d(3, 4, 3), Block(4, 4), Block(4, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.append(nn.Linear(8, 3))
    graph, layers = exported(net, (3, 6, 6))
    assert [region.name for region in regions(graph, layers)] == ["0", "1", "2", "5"]
    nodes = [node for region in regions(graph, layers) for node in region.nodes]
    assert sorted(nodes) == sorted({node.name for node in graph.graph.node})


def test_leaves_recurrent_layers_out_which_have_no_int8_kernel(exported):
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = torch.nn.LSTM(3, 4, batch_first=True), torch.nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    graph, layers = exported(Net(), (5, 3))
    assert [region.layers for region in regions(graph, layers)] == [("head",)]


PARTS = ("layer", "residual", "branches", "skip", "again", "second input", "mask")


def random_net(parts):
    net = Chain("x", "z")
    at, open_skips = net.layer("x", "stem"), []
    for place, (kind, size) in enumerate(parts):
        if kind == "residual":
            at = residual(net, at, f"b{place // 3}.{place}", size)
        elif kind == "branches":
            at = net.node("Sum", [net.layer(at, f"b{place // 3}.{place}.{branch}") for branch in range(size + 1)])
        elif kind == "skip":
            open_skips.append(at)
        elif kind == "again":
            at = net.again(at, "stem") if place == size else net.layer(at, f"b{place // 3}.{place}")
        elif kind == "second input":
            at = net.node("Add", (at, net.layer("z", f"b{place // 3}.{place}")))
        elif kind == "mask":
            at = net.node("Add", (at, "z"))
        else:
            at = net.layer(at, f"b{place // 3}.{place}")
        if open_skips and size == 3:
            at = net.node("Add", (at, open_skips.pop()))
    return net, at


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PARTS), st.integers(1, 3)), max_size=40))
def test_has_each_layer_in_exactly_one_region(parts):
    net, at = random_net(parts)
    graph = net.done(at)
    found = regions(graph, net.layers)
    assert sorted(layer for region in found for layer in region.layers) == sorted(net.layers)
    nodes = [node for region in found for node in region.nodes]
    assert len(nodes) == len(set(nodes))
    heavy = [node.name for node in graph.graph.node if node.op_type == "MatMul"]
    assert set(heavy) <= set(nodes)
    assert len(found) <= MOST_REGIONS
    assert len({region.name for region in found}) == len(found)
    again = onnx.ModelProto.FromString(graph.SerializeToString())
    assert regions(again, net.layers) == found

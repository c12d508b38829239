"""A drawing: copies stand once, skips are drawn, no box lies on another, and three hundred layers stay readable."""

import re
from dataclasses import replace
from itertools import combinations

import pytest
import torch  # noqa: TID253 - the nets are torch modules
from torch import nn  # noqa: TID253

import titrant
from titrant.runtime.instruments.architecture.architecture import Architecture
from titrant.runtime.instruments.architecture.fold import folded
from titrant.runtime.instruments.architecture.layer_graph import LayerGraph, Operation
from titrant.runtime.instruments.architecture.view import view
from titrant.schema.facts import Layer, ModelFacts

from .nets import IMAGE, Attending, ResNet, TwoInputs, UNet, long_net


def boxes(svg):
    """Return (x, y, width, height) of each box that no other one stands in."""
    plain = re.sub(r'<g class="open">.*?</g>', "", svg)
    edges = r' x="([\d.-]+)" y="([\d.-]+)" width="([\d.]+)" height="([\d.]+)"'
    matches = re.findall(
        rf'<g class="box [^"]*">(?:<title>.*?</title>)?(?:<rect class="frame"[^>]*>)*?<rect class="frame"{edges}',
        plain,
    )
    return [tuple(map(float, match)) for match in matches]


def overlap(first, second):
    x1, y1, w1, h1 = first
    x2, y2, w2, h2 = second
    return x1 < x2 + w2 - 0.1 and x2 < x1 + w1 - 0.1 and y1 < y2 + h2 - 0.1 and y2 < y1 + h1 - 0.1


@pytest.mark.parametrize("net", [ResNet(4), UNet()], ids=["residual", "skips"])
def test_lays_no_box_on_another(net):
    svg = titrant.architecture(net, IMAGE).plot().svg
    placed = boxes(svg)
    assert len(placed) > 5
    assert not [pair for pair in combinations(placed, 2) if overlap(*pair)]


def test_draws_copies_once_with_how_many_there_are():
    svg = titrant.architecture(ResNet(5), IMAGE).plot().svg
    assert svg.count("× 5") == 1
    assert "layer.0 … 4" in svg
    assert svg.count(">Conv2d<") == 3
    assert ">× " not in titrant.architecture(ResNet(1), IMAGE).plot().svg


def test_folds_no_copies_whose_answers_are_read_elsewhere():
    class Collecting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(3))

        def forward(self, x):
            seen = []
            for layer in self.layers:
                x = layer(x)
                seen.append(x)
            return torch.cat(seen, 1)

    assert "× 3" not in titrant.architecture(Collecting(), torch.zeros(2, 4)).plot().svg


def test_folds_caches_of_copies_into_one_input_and_one_output():
    operations, last = [], "x"
    for place in range(6):
        names = (f"l.{place}",)
        operations.append(
            Operation(
                f"l.{place}.a", "MatMul", ("l", str(place)), (last, f"past.{place}"), (f"a{place}", f"now.{place}")
            )
        )
        operations.append(Operation(f"l.{place}.b", "Gemm", ("l", str(place)), (f"a{place}",), (f"b{place}",)))
        last = f"b{place}"
        del names
    graph = LayerGraph(
        "cached", tuple(operations), {}, ("x", *(f"past.{place}" for place in range(6))),
        (last, *(f"now.{place}" for place in range(6))),
    )  # fmt: skip
    svg = Architecture(graph).plot().svg
    assert "past.0 … past.5" in svg
    assert "now.5" in svg
    assert "× 6" in svg


@pytest.mark.parametrize("layers", [10, 50, 150])
def test_keeps_few_boxes_at_any_size_and_leads_to_the_rest(layers, tmp_path):
    net = long_net(layers)
    drawn = titrant.architecture(net, torch.zeros(2, 4))
    root = folded(drawn.graph).root
    assert sum(1 for _ in boxes(drawn.plot().svg)) <= 66
    page = drawn.save(tmp_path / "net.html").read_text("utf-8")
    assert len(page) < 2_000_000
    assert all(f">{layers - 1}<" in page or f"{place}" in page for place in range(layers))
    for anchor in re.findall(r'<a href="#(block-\d+)">', page):
        assert f'id="{anchor}"' in page
    assert len(view(root, 40).items) <= 66


def test_says_all_in_words_that_a_color_or_a_bar_says():
    svg = titrant.architecture(Attending(), torch.zeros(2, 5, dtype=torch.long)).plot().svg
    assert "product with weights" in svg
    assert "attention" in svg
    assert "share of all FLOPs" in svg


def test_escapes_names_and_shortens_long_ones(tmp_path):
    name = "<&>" + "very_long_" * 30
    graph = LayerGraph("<net>", (Operation(name, "Conv", (), ("x",), ("y",), 5, 7),), {}, ("x",), ("y",))
    page = Architecture(graph).save(tmp_path / "n.html").read_text("utf-8")
    assert "<&>" not in page
    assert "<net>" not in page
    assert max(len(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", page)) < 60


def test_draws_a_model_without_layers():
    assert ">no layers<" in Architecture(LayerGraph("empty", ())).plot().svg
    assert titrant.architecture(nn.Identity(), torch.zeros(2, 3)).plot().svg.startswith("<svg")


def test_says_how_many_are_drawn_where_layers_are_another_number():
    facts = ModelFacts("factory", "d", 4, 4, 16, (Layer("a", "Linear", 4, 16),), (), ())
    operations = (Operation("a", "Linear", outputs=("t",)), Operation("add", "add", inputs=("t",)))
    shown = Architecture(LayerGraph("net", operations), facts).sections()[0].table.rows[0]
    assert shown == ("layers", "1; 2 are drawn: each call of one, and what is computed between them")
    hidden = (replace(operations[0], hidden="shapes"),)
    shown = Architecture(LayerGraph("net", hidden), facts).sections()[0].table.rows[0]
    assert shown == ("layers", "1, of which 0 are drawn")


def test_draws_several_inputs_and_outputs():
    svg = titrant.architecture(TwoInputs(), [torch.zeros(2, 4), torch.zeros(2, 2)]).plot().svg
    assert all(f">{name}<" in svg for name in ("image", "table", "class", "age"))


def test_sums_blocks_up_to_the_whole():
    drawn = titrant.architecture(ResNet(5), IMAGE)
    blocks = drawn.blocks()
    assert sum(block.parameters for block in blocks) == drawn.parameters
    assert sum(block.flops or 0 for block in blocks) == drawn.flops
    assert sum(block.layers for block in blocks) == len(drawn.operations)
    assert ("layer.0 … 4", "Residual", 5) in [(block.name, block.kind, block.copies) for block in blocks]


def test_shows_itself_in_a_notebook_with_its_own_style():
    shown = titrant.architecture(ResNet(1), IMAGE)._repr_svg_()
    assert "<style>" in shown
    assert "var(" not in shown
    assert "prefers-color-scheme: dark" in shown

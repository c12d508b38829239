"""The operator that summarizes: parameters and architecture of a module and of files, and why one is not drawn."""

import pytest

from titrant.api.apply import apply
from titrant.runtime.instruments.architecture.layer_graph import LayerGraph
from titrant.runtime.instruments.architecture.readers import handed_on
from titrant.schema.values.canonical import read_back


def seen(model):
    return apply("inspect.summary", {"model": model}).outputs["seen"]


@pytest.fixture
def models(torch_model, rows):
    """The same network as a module, and as the files that it exports to."""
    module, example = torch_model("TinyNet", 1, 6, 6), rows(1, 6, 6)
    made = {
        name: apply(f"export.{name}", {"model": module, "example": example}).outputs["model"]
        for name in ("onnx", "torchscript", "exported")
    }
    return {"module": module, **made}


def test_draws_a_module_and_each_file_of_a_graph(models):
    counted = {name: seen(model) for name, model in models.items()}
    assert all(value["undrawn"] == "" for value in counted.values())
    graphs = {name: read_back(LayerGraph, value["architecture"]) for name, value in counted.items()}
    assert all(len(graph.operations) >= 3 for graph in graphs.values())
    assert graphs["module"].basis == "traced"
    assert graphs["module"].parameters == counted["module"]["counts"]["total"]
    assert counted["exported"]["counts"]["total"] == counted["module"]["counts"]["total"]


def test_says_why_a_model_is_not_drawn(models, monkeypatch):
    monkeypatch.setattr(handed_on, "MOST_OPERATIONS", 1)
    value = seen(models["onnx"])
    assert value["architecture"] is None
    assert "a report draws up to 1; titrant inspect MODEL --out model.html draws it" in value["undrawn"]
    assert value["lines"]

"""What is planned for layers that share weights, or are read without a call, is what engines run."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from titrant.compiler.decide.number_format import planned_layers
from titrant.compiler.decide.rule import Chain
from titrant.runtime import catalog
from titrant.runtime.api import apply
from titrant.runtime.backends import backend
from titrant.runtime.operators.validate.executed import ExecutedParams, beside
from titrant.schema.facts import TensorSpec
from titrant.schema.recipe.reduce import Quantization
from titrant.schema.record import UNKNOWN, is_unlike

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[3] / "compiler" / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

TOKENS = np.arange(40).reshape(8, 5) % 20
# A method, and the precision of the table, of a layer and of the head that is tied to the table.
METHODS = {
    "none": ("fp32", "fp32", "fp32"),
    "ort.dynamic": ("int8", "int8", "int8"),
    "torch.dynamic": ("int8", "int8", "int8"),
    "bnb.int8": ("fp32", "int8", "fp32"),
    "openvino.weights": ("int8", "int8", "int8"),
}


def words_net():
    """A head tied to the table of words, a table of places that is cut, and one that is read at the same places."""
    import torch
    from torch import nn

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.cut, self.counted = nn.Embedding(20, 32), nn.Embedding(9, 32), nn.Embedding(9, 32)
            self.layer, self.head = nn.Linear(32, 32), nn.Linear(32, 20, bias=False)
            self.head.weight = self.words.weight

        def forward(self, x):
            held = self.words(x) + self.cut.weight[: x.shape[1]] + self.counted(torch.arange(x.shape[1]))
            return self.head(self.layer(held).relu().mean(1))

    torch.manual_seed(0)
    return Words().eval()


@pytest.fixture(scope="module")
def words():
    """Return the live model, its facts, and the same as ONNX."""
    from titrant.api.live.values import live_model
    from titrant.runtime.inspect.torch import describe_live

    module = words_net()
    facts = describe_live(module, [TensorSpec("x", ("batch", 5), "int64")])
    live = live_model(module, {"x": TOKENS})
    return {"torch": live}, facts


def test_tells_tables_that_are_no_layer_of_a_file_and_whose_weights_a_head_has(words):
    layers = {layer.name: layer for layer in words[1].layers}
    assert [name for name, layer in layers.items() if layer.custom] == ["cut", "counted"]
    assert {name: layer.shared_with for name, layer in layers.items() if layer.shared_with} == {
        "words": "head",
        "head": "words",
    }


@pytest.mark.parametrize("method", METHODS)
def test_runs_every_layer_as_planned(method, words, rows):
    ran = run_as_planned(method, *words, rows(x=TOKENS))
    assert (ran["words"], ran["layer"], ran["head"]) == METHODS[method]


def run_as_planned(method, files, facts, example, bits=8):
    """Make a file of the model by a method, see that each layer runs as planned, and return in what each does."""
    params, engine = {}, "onnxruntime"
    if method == "none":
        file = made("onnx", files, example)
    else:
        declaration = catalog.get(catalog.method_operator(method))
        engine = declaration.method.engine
        params = {"bits": bits} if "bits" in declaration.params.model_fields else {}
        given = {"model": made(declaration.method.takes, files, example)}
        given |= {port: example for port in declaration.inputs if port != "model"}
        file = apply(declaration.name, given, params).outputs["model"]
    bits = None if method == "none" else bits
    plan = planned_layers(Chain("c", method, bits, engine, "", 0, params), case.AVX2, facts, Quantization())
    asked = ExecutedParams(engine=engine, layers=plan.layers, planned=plan.planned, custom=plan.custom)
    found = list(beside(asked, backend.get(engine).executed(file, layers=plan.layers)))
    assert not [row for row in found if is_unlike(row) or row.executed == UNKNOWN or not row.name]
    return {row.name: row.executed for row in found}


def made(kind, files, example):
    """Return the model as a kind, converted once."""
    if kind not in files:
        (operator, _), *_ = backend.conversion("torch", kind)
        files[kind] = apply(operator, {"model": files["torch"], "example": example}).outputs["model"]
    return files[kind]


# A method, its bits, and the precision of linear layers that compute their weights.
NORMED = {
    "bnb.int8": (8, "int8"), "bnb.nf4": (4, "int4"), "bnb.fp4": (4, "int4"), "torch.dynamic": (8, "int8"),
    "torchao.int8_weight_only": (8, "int8"), "ort.dynamic": (8, "int8"),
}  # fmt: skip


@pytest.fixture(scope="module")
def normed():
    """Return a net whose weights are normalized in every way that torch knows, and its facts."""
    import torch
    from torch import nn
    from torch.nn.utils import parametrizations

    from titrant.api.live.values import live_model
    from titrant.runtime.inspect.torch import describe_live

    torch.manual_seed(0)
    made = [
        parametrizations.weight_norm(nn.Linear(64, 64)),
        nn.utils.weight_norm(nn.Linear(64, 64)),
        parametrizations.spectral_norm(nn.Linear(64, 64)),
        nn.utils.spectral_norm(nn.Linear(64, 64)),
    ]
    module = nn.Sequential(*made, nn.Linear(64, 8)).eval()
    example = {"x": np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)}
    live = live_model(module, example)
    return {"torch": live}, describe_live(module, [TensorSpec("x", ("batch", 64), "float32")]), example


@pytest.mark.parametrize("method", NORMED)
def test_quantizes_weights_that_a_layer_computes(method, normed, rows):
    files, facts, example = normed
    bits, precision = NORMED[method]
    before = files["torch"].module(*map(tensor, example.values()))
    ran = run_as_planned(method, files, facts, rows(**example), bits)
    assert set(ran.values()) == {precision}
    assert len(ran) == len(facts.layers) == 5
    assert (files["torch"].module(*map(tensor, example.values())) == before).all()


def tensor(array):
    import torch

    return torch.from_numpy(array)

"""prune.structured: what it removes, refuses and predicts, and that its record is all that loading takes."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253 - the tests run modules
from torch import nn  # noqa: TID253

import titrant
from titrant.runtime import catalog
from titrant.runtime.backends.torch.factory import source_digest
from titrant.runtime.backends.torch.module import described, load_torch, save_torch
from titrant.runtime.backends.torch.pruning.groups import matching
from titrant.runtime.cost.pruned import narrowed
from titrant.runtime.operators.prune.structured import StructuredParams, requires
from titrant.schema.diagnostics.diagnostics import TitrantError
from titrant.schema.facts import Hardware, HardwareIdentity, Layer, ModelFacts

sys.path.insert(0, str(Path(__file__).parents[2] / "backends" / "torch" / "pruning"))
from coupled_nets import Deciding, Encoder, Residual, mlp

RNG = np.random.default_rng(2)
IMAGES = {"image": RNG.normal(size=(24, 3, 8, 8)).astype(np.float32)}
ROWS = {"x": RNG.normal(size=(40, 6)).astype(np.float32)}
LABELS = RNG.integers(0, 2, 40)


def module_of(network, **kwargs):
    torch.manual_seed(0)
    return network(**kwargs).eval()


def prune(module, arrays, labels=None, **params):
    tuning = (arrays, labels) if labels is not None else arrays
    return titrant.apply("prune.structured", {"model": module, "tuning": tuning}, params)


def code_of(module, arrays, **params):
    with pytest.raises(TitrantError) as refused:
        prune(module, arrays, **params)
    return refused.value.diagnostics[0]


@pytest.mark.parametrize("sparsity", [0.15, 0.5])
def test_removes_no_more_than_was_asked_and_nearly_that(sparsity):
    module = module_of(Residual)
    before = sum(weight.numel() for weight in module.parameters())
    applied = prune(module, IMAGES, sparsity=sparsity, round_to=1)
    made, removed = applied.outputs["model"].module, applied.outputs["removed"]
    after = sum(weight.numel() for weight in made.parameters())
    assert (removed["parameters_before"], removed["parameters_after"]) == (before, after)
    assert 0.9 * sparsity <= 1 - after / before <= sparsity
    measured = applied.measurements
    assert measured["parameters_removed"] == pytest.approx(1 - after / before)
    assert (measured["weights_masked"], measured["compression"]) == (0, pytest.approx(before / after))
    assert made(torch.from_numpy(IMAGES["image"])).shape == (24, 3)
    assert sum(weight.numel() for weight in module.parameters()) == before
    assert 0 < removed["multiply_adds_after"] < removed["multiply_adds_before"]


def test_takes_more_where_it_harms_less_than_the_same_share_of_all():
    module = mlp((6, 32, 32, 2))
    with torch.no_grad():  # the last layer reads only eight of the second's neurons, the first's all matter
        module[4].weight[:, 8:] *= 1e-4
    applied = prune(module.eval(), ROWS, sparsity=0.4)
    kept = {group["group"]: group["kept"] for group in applied.outputs["removed"]["groups"]}
    assert applied.outputs["removed"]["distribution"] == "heterogeneous"
    assert kept["2"] < kept["0"]
    kl = applied.outputs["removed"]["kl"]
    assert kl["heterogeneous"] < kl["uniform"]
    assert applied.measurements["kl.uniform"] == kl["uniform"]


def test_scores_by_what_the_loss_depends_on():
    module = mlp((6, 16, 2))
    with torch.no_grad():  # large weights that meet zeros
        module[0].weight[:8] *= 3
        module[2].weight[:, :8] = 0
    by_size = prune(module.eval(), ROWS, LABELS, sparsity=0.5, round_to=1, distribution="uniform")
    by_loss = prune(module, ROWS, LABELS, sparsity=0.5, round_to=1, distribution="uniform", importance="taylor")
    assert by_loss.outputs["removed"]["kl"]["uniform"] < 1e-9 < by_size.outputs["removed"]["kl"]["uniform"]


@pytest.mark.parametrize(
    ("network", "arrays"), [(Residual, IMAGES), (Encoder, {"tokens": RNG.integers(0, 20, (24, 5))})]
)
def test_is_loaded_from_its_record_without_torch_pruning(network, arrays, tmp_path, monkeypatch):
    """The file holds names, numbers and tensors alone; what comes back answers the same to the bit."""
    applied = prune(module_of(network), arrays, sparsity=0.3, round_to=4)
    factory = f"coupled_nets:{network.__name__}"
    model = dataclasses.replace(applied.outputs["model"], factory=factory, source_digest=source_digest(factory))
    save_torch(model, tmp_path)
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    loaded = load_torch(tmp_path / "model.safetensors")
    given = torch.from_numpy(next(iter(arrays.values())))
    with torch.inference_mode():
        assert torch.equal(loaded.module(given), model.module(given))
    record = described(tmp_path / "model.safetensors")["rewrites"][0]
    assert (record["operator"], record["version"]) == ("prune.structured", 1)
    assert json.loads(json.dumps(record)) == record


def test_removes_the_same_each_time():
    first, second = (prune(module_of(Residual), IMAGES, sparsity=0.3, round_to=4) for _ in range(2))
    assert first.outputs["removed"] == second.outputs["removed"]


def test_tries_the_model_on_numbers_of_its_own_where_there_are_no_rows():
    applied = titrant.apply("prune.structured", {"model": (module_of(mlp), {"x": ROWS["x"][:2]})}, {"sparsity": 0.3})
    assert applied.outputs["removed"]["kl"] == {}
    assert applied.outputs["removed"]["distribution"] == "uniform"


def test_prunes_layers_that_compute_their_weights():
    module = mlp((6, 16, 16, 2))
    nn.utils.parametrizations.weight_norm(module[2])
    made = prune(module.eval(), ROWS, sparsity=0.3).outputs["model"]
    assert [step.operator for step in made.rewrites] == ["model.fold", "prune.structured"]


def test_leaves_narrow_convolutions_to_who_asks():
    diagnostic = code_of(module_of(Residual), IMAGES, sparsity=0.3)
    assert diagnostic.code == "X540"
    assert "8 channels: convolutions of fewer than 16 are no faster" in diagnostic.message


@pytest.mark.parametrize(
    ("network", "arrays", "params", "code", "text"),
    [
        (mlp, ROWS, {"sparsity": 0.01, "round_to": 8}, "X540", "write sparsity: 0.37"),
        (mlp, ROWS, {"skip": ("*",)}, "X540", "skip names"),
        (mlp, ROWS, {"round_to": 16}, "X540", "one block of 16 stays"),
        (mlp, ROWS, {"importance": "taylor"}, "X541", "set data.label"),
        (Deciding, ROWS, {}, "X542", "if or while"),
    ],
)
def test_refuses_with_what_would_do(network, arrays, params, code, text):
    diagnostic = code_of(module_of(network), arrays, **params)
    assert diagnostic.code == code
    assert text in f"{diagnostic.message} {diagnostic.help}"


def test_skips_a_layer_by_any_of_its_names_and_attention_by_its_projection():
    module = nn.Module()
    module.attention, module.layer = nn.MultiheadAttention(4, 2), nn.Linear(4, 4)
    module.alias = module.layer
    assert matching(module, ("alias",)) == {"layer"}
    assert matching(module, ("attention.out_proj",)) == {"attention", "attention.out_proj"}
    assert matching(module, ("other",)) == frozenset()


def test_refuses_to_weigh_damage_without_rows():
    with pytest.raises(TitrantError) as refused:
        titrant.apply(
            "prune.structured", {"model": (module_of(mlp), {"x": ROWS["x"][:2]})}, {"distribution": "heterogeneous"}
        )
    assert refused.value.diagnostics[0].code == "X543"


def test_says_what_installs_torch_pruning(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch_pruning" else there(name))
    diagnostic = code_of(module_of(mlp), ROWS)
    assert (diagnostic.code, diagnostic.help) == ("X544", "pip install 'titrant[pruning]'")


def machine(*packages):
    identity = HardwareIdentity("linux", "x86_64", "cpu", (), 2, 1 << 30, (), "3.11", dict.fromkeys(packages, "1"))
    return Hardware(identity)


LAYERS = (
    Layer("a", "Conv2d", 896, 3584, (32, 3, 3, 3), 2 * 864 * 64, trainable=896),
    Layer("n", "BatchNorm2d", 64, 256, (32,), None, trainable=64),
    Layer("d", "Conv2d", 320, 1280, (32, 1, 3, 3), 2 * 288 * 64, trainable=320, groups=32),
    Layer("b", "Conv2d", 9248, 36992, (32, 32, 3, 3), 2 * 9216 * 64, trainable=9248),
    Layer("c", "Linear", 330, 1320, (10, 32), 640, trainable=330),
)
FACTS = ModelFacts("factory", "0", 10858, 10858, 43432, LAYERS, (), (), sum(layer.flops or 0 for layer in LAYERS), 4096)


def test_predicts_fewer_parameters_in_every_layer_but_at_the_ends():
    after = narrowed(FACTS, 0.3)
    assert after.parameters == pytest.approx(0.7 * FACTS.parameters, rel=0.03)
    assert after.parameters == sum(layer.parameters for layer in after.layers) == after.trainable
    assert after.weight_bytes == 4 * after.parameters
    first, norm, depthwise, inner, last = after.layers
    assert first.weight_shape[1] == 3
    assert last.weight_shape[0] == 10
    assert {first.weight_shape[0], norm.weight_shape[0], depthwise.groups, last.weight_shape[1]} == {
        inner.weight_shape[0]
    }
    assert after.flops == sum(layer.flops or 0 for layer in after.layers) < FACTS.flops
    assert narrowed(FACTS, 0.0) is FACTS


def test_is_predicted_smaller_and_needs_its_library():
    declaration, params = catalog.get("prune.structured"), StructuredParams()
    everything = machine("torch", "torch-pruning")
    assert (
        declaration.predict(params, everything, FACTS).output_bytes
        < declaration.predict(StructuredParams(sparsity=0.1), everything, FACTS).output_bytes
    )
    assert requires(params, everything, FACTS) == ()
    (unmet,) = requires(params, machine("torch"), FACTS)
    assert unmet.remedy == "pip install 'titrant[pruning]'"
    (unmet,) = requires(params, everything, dataclasses.replace(FACTS, layers=LAYERS[:1]))
    assert "no two" in unmet.cause

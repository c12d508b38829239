"""sensitivity.regions: what each region does to the answers in int8, measured by the engine."""

import dataclasses

import numpy as np
import onnx  # noqa: TID253 - its very subject
import pytest
from chain_nets import WIDTH, Chain, residual, rows_of

from titrant.runtime.api import apply
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import PreconditionError, StepError
from titrant.schema.values.canonical import canonical_json

READING = {"task": "multiclass_classification"}


def net_of(folder, spoiled=None):
    """Three residual blocks; in `spoiled` one channel is a thousand times as large as others, and read as little."""
    net = Chain("x")
    at = net.layer("x", "stem")
    for place in range(3):
        at = net.node("Relu", [residual(net, at, f"blocks.{place}")])
    graph = net.done(net.layer(at, "head"))
    for tensor in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).copy()
        if tensor.name == f"{spoiled}.fc0.weight":
            values[:, 0] *= 1000
        elif tensor.name == f"{spoiled}.fc1.weight":
            values[0] /= 1000
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(graph, folder / "net.onnx")
    return OnnxModel(folder / "net.onnx"), tuple(net.layers)


def tuning_rows(count=64):
    rows = rows_of(count, "x", role="tuning", seed=5)
    return dataclasses.replace(rows, labels=np.arange(count) % WIDTH, classes=tuple("abcd"))


def sensitivity(model, layers, *, tuning=None, reading=None, **params):
    given = {"model": model, "calibration": rows_of(64, "x"), "tuning": tuning_rows() if tuning is None else tuning}
    options = {"per_channel": False, "leave": params.pop("leave", ())}
    asked = {**(reading or READING), "options": options, "layers": layers, **params}
    made = apply("sensitivity.regions", given, asked)
    canonical_json(made.outputs["sensitivity"])
    return made.outputs["sensitivity"]


@pytest.mark.parametrize("spoiled", ["blocks.0", "blocks.2"])
def test_finds_the_region_that_does_the_damage(spoiled, tmp_path):
    model, layers = net_of(tmp_path, spoiled)
    value = sensitivity(model, layers)
    damages = {region["name"]: region["kl"] for region in value["regions"]}
    assert list(damages) == ["stem", "blocks.0", "blocks.1", "blocks.2", "head"]
    assert [layer for region in value["regions"] for layer in region["layers"]] == list(layers)
    assert max(damages, key=damages.get) == spoiled
    assert damages[spoiled] > 5 * sorted(damages.values())[-2]
    assert damages[spoiled] / 2 < value["whole"] < 2 * sum(damages.values())
    assert value["rows"] == 64


def test_answers_as_many_rows_of_each_value_of_a_subgroup(tmp_path):
    model, layers = net_of(tmp_path)
    tuning = tuning_rows(64)
    few = (np.arange(64) % 8 == 0).astype(np.int64)
    grouped = dataclasses.replace(tuning, subgroups={"site": few}, subgroup_values={"site": ("a", "b")})
    value = sensitivity(model, layers, tuning=grouped, rows=32, subgroups=("site",))
    assert value["rows"] == 24
    alone = tuning.some(np.unique([*np.flatnonzero(few), *np.flatnonzero(few == 0)[np.arange(16) * 56 // 16]]))
    assert value["regions"] == sensitivity(model, layers, tuning=alone)["regions"]


def test_takes_rows_at_even_distances_and_says_how_many(tmp_path):
    """Rows that are sorted, so that the first ones alone would show no damage, show it."""
    model, layers = net_of(tmp_path, "blocks.1")
    rows = tuning_rows()
    still = dataclasses.replace(
        rows, inputs={"x": rows.inputs["x"] * (np.arange(64) >= 32)[:, None].astype(np.float32)}
    )
    value = sensitivity(model, layers, tuning=still, rows=16)
    assert value["rows"] == 16
    assert value["whole"] > 0.1 * sensitivity(model, layers, tuning=still)["whole"] > 0


def test_holds_its_figures_against_all_rows_on_request(tmp_path):
    model, layers = net_of(tmp_path, "blocks.1")
    value = sensitivity(model, layers, rows=32, check=True)
    everything = sensitivity(model, layers)
    check = value["check"]
    assert check["rows"] == 64
    assert check["regions"] == pytest.approx({region["name"]: region["kl"] for region in everything["regions"]})
    assert check["whole"] == pytest.approx(everything["whole"])
    assert check["spearman"] > 0.6
    assert 0.5 < check["ratio"] < 2
    assert "check" not in everything


def test_leaves_layers_out_that_stay_in_float_anyway(tmp_path):
    model, layers = net_of(tmp_path, "blocks.1")
    left = [layer for layer in layers if layer.startswith("blocks.1")]
    value = sensitivity(model, layers, leave=tuple(left))
    assert [region["name"] for region in value["regions"]] == ["stem", "blocks.0", "blocks.2", "head"]
    assert value["whole"] < sensitivity(model, layers)["whole"] / 5


@pytest.mark.parametrize("kind", ["values", "logits"])
def test_reads_outputs_without_labels_by_their_kind(kind, tmp_path):
    model, layers = net_of(tmp_path, "blocks.0")
    name = onnx.load(model.path).graph.output[0].name
    reading = {"task": "unlabeled", "kinds": {name: kind}}
    value = sensitivity(model, layers, reading=reading)
    labelled = sensitivity(model, layers)
    kl = [region["kl"] for region in labelled["regions"]]
    got = [region["kl"] for region in value["regions"]]
    assert got == pytest.approx(kl) if kind == "logits" else got != pytest.approx(kl)
    assert max(got) == got[1]


def test_goes_on_where_the_engine_refuses_a_region(tmp_path, monkeypatch):
    from titrant.runtime.backends.onnxruntime.titration import mixture
    from titrant.schema.diagnostics.diagnostics import Diagnostic

    own = mixture.Mixtures.built

    def built(self, nodes, name="model.onnx"):
        if name == "region.onnx" and "/stem/MatMul" in nodes:
            raise StepError(Diagnostic("X212", "onnxruntime cannot load it"))
        return own(self, nodes, name)

    monkeypatch.setattr(mixture.Mixtures, "built", built)
    model, layers = net_of(tmp_path)
    stem, *others = sensitivity(model, layers)["regions"]
    assert stem["refused"] == "X212"
    assert stem["kl"] > 10 * max(region["kl"] for region in others)
    assert not any("refused" in region for region in others)


def test_refuses_rows_that_cannot_answer(tmp_path):
    model, layers = net_of(tmp_path)
    with pytest.raises(StepError, match="X404"):
        sensitivity(model, layers, tuning=tuning_rows(0))
    few = dataclasses.replace(tuning_rows(), classes=("a", "b", "c"))
    with pytest.raises(StepError, match="X420"):
        sensitivity(model, layers, tuning=few)


def test_refuses_a_graph_without_weights(tmp_path):
    net = Chain("x")
    onnx.save(net.done(net.node("Relu", ["x"])), tmp_path / "net.onnx")
    with pytest.raises(PreconditionError, match="X210"):
        sensitivity(OnnxModel(tmp_path / "net.onnx"), ())


def test_measures_the_same_twice(tmp_path):
    model, layers = net_of(tmp_path, "blocks.1")
    assert sensitivity(model, layers) == sensitivity(model, layers)

"""What a reduction becomes: which operator, how far it is tried, what is trained after it, and what may not be."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.lower.lower import lower
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.facts import Layer

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

BLOCKS = tuple(f"stage.{place}" for place in range(4))
LAYERS = tuple(
    Layer(f"{block}.{name}", "Conv2d", 9216, 36864, (32, 32, 3, 3), 10**6) for block in BLOCKS for name in ("a", "b")
)


def asked(*changes, blocks=BLOCKS):
    model = replace(case.MODEL, layers=LAYERS, parameters=8 * 9216, weight_bytes=32 * 9216, blocks=blocks)
    said = ("level=balanced", "search.mix_layers=false", "quantization.repair=none", "quantization.method=ort.static")
    bound = case.bound(case.RECIPE, *said, *changes)
    return bound, case.decide(bound, case.AVX2, model, case.DATA), model


def lines(decisions):
    return {line.subject: line for line in decisions.decisions}


def test_tries_one_stage_after_the_other_where_nobody_says_how_far():
    _, decisions, _ = asked("reduction.pruning.method=blocks")
    chains = decisions.settled.chains
    assert [(chain.id, chain.grows) for chain in chains] == [
        ("ort.static", ""),
        ("prune.blocks-1+ort.static", "ort.static"),
        ("prune.blocks-2+ort.static", "prune.blocks-1+ort.static"),
        ("prune.blocks-3+ort.static", "prune.blocks-2+ort.static"),
    ]
    assert [chain.rank for chain in chains] == sorted({chain.rank for chain in chains})
    assert [[step.operator for step in chain.before] for chain in chains[1:]] == [["prune.blocks", "train.fit"]] * 3
    assert [chain.before[0].options for chain in chains[1:]] == [{"blocks": count} for count in (1, 2, 3)]


def test_tries_no_stage_that_the_network_has_no_blocks_for():
    _, decisions, _ = asked("reduction.pruning.method=blocks", blocks=BLOCKS[:2])
    assert len([chain for chain in decisions.settled.chains if chain.grows]) == 2


@pytest.mark.parametrize("written", ["blocks=2", "sparsity=0.3"])
def test_reduces_every_candidate_where_the_recipe_says_how_far(written):
    _, decisions, _ = asked("reduction.pruning.method=blocks", f"reduction.pruning.{written}")
    assert [chain.id for chain in decisions.settled.chains] == ["prune.blocks+ort.static"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("reduction.pruning={method: magnitude}",), ("not written", "0.3", "sparsity.default")),
        (("reduction.pruning={method: magnitude, sparsity: auto}",), ("auto", "0.3", "sparsity.default")),
        (("preserve=medical", "reduction.pruning={method: blocks}"), ("not written", "0.1", "sparsity.medical")),
    ],
)
def test_says_which_share_goes_where_the_recipe_does_not(changes, said):
    line = lines(asked(*changes)[1])["reduction.pruning.sparsity"]
    assert (line.asked, line.chosen, line.rule) == said
    assert line.where


@pytest.mark.parametrize("written", ["magnitude, sparsity: 0.4", "blocks, blocks: 1", "n_m"])
def test_says_nothing_of_a_share_that_is_written_or_not_taken(written):
    assert "reduction.pruning.sparsity" not in lines(asked(f"reduction.pruning={{method: {written}}}")[1])


def test_leaves_masks_to_be_named():
    _, decisions, _ = asked("reduction.pruning={method: auto}")
    line = lines(decisions)["reduction.pruning"]
    assert line.chosen == "prune.blocks"
    assert {"prune.magnitude", "prune.n_m", "prune.activation"} <= {other.value for other in line.rejected}


def test_keeps_the_zeros_of_a_mask_while_training():
    _, decisions, _ = asked("reduction.pruning={method: magnitude, sparsity: 0.5}")
    (chain,) = decisions.settled.chains
    assert chain.before[-1].options["keep_zeros"] is True
    assert "keep_zeros" not in decisions.settled.fine_tuning


def test_holds_what_is_trained_against_the_original_after_the_same_training():
    bound, decisions, model = asked("reduction.pruning.method=blocks")
    plan = lower(bound, decisions, case.AVX2, model, case.DATA, files={})
    steps = {step.id: step for step in plan.steps}
    control = steps["control"]
    assert (control.operator, control.stage, control.inputs["model"]) == ("train.fit", "search", plan.original)
    assert {gate.id: gate.threshold for gate in decisions.settled.contract.gates}["fine_tuned"] == 0.95
    judged = {name: steps[f"{name}.contract"] for name in ("ort.static", "prune.blocks-2+ort.static")}
    presets = {name: [gate["preset"] for gate in step.params["gates"]] for name, step in judged.items()}
    assert "fine_tuned" in presets["prune.blocks-2+ort.static"]
    assert "fine_tuned" not in presets["ort.static"]
    assert "fine_tuned" not in judged["ort.static"].inputs
    assert judged["prune.blocks-2+ort.static"].inputs["fine_tuned"] == "control.evaluation.outputs"
    assert steps["prune.blocks-1+ort.static.quality"].inputs["fine_tuned"] == "control.tuning.outputs"


def test_trains_the_original_too_at_once_where_every_candidate_is_reduced():
    bound, decisions, model = asked("reduction.pruning={method: blocks, blocks: 1}")
    plan = lower(bound, decisions, case.AVX2, model, case.DATA, files={})
    assert {step.id: step.stage for step in plan.steps}["control"] == "make"


def test_trains_nothing_again_without_a_train_section():
    _, decisions, _ = asked("reduction.pruning={method: blocks, blocks: 1}", "train=none", "model.weights=included")
    (chain,) = decisions.settled.chains
    assert [step.operator for step in chain.before] == ["prune.blocks"]
    assert decisions.settled.fine_tuning is None
    assert lines(decisions)["recovery"].chosen == "none"


def test_removes_a_tenth_at_most_under_the_medical_safeguards():
    _, decisions, _ = asked("preserve=medical", "reduction.pruning.method=blocks")
    (chain,) = decisions.settled.chains
    assert chain.before[0].options == {"sparsity": 0.1}
    with pytest.raises(InfeasibleError, match="P121"):
        asked("preserve=medical", "reduction.pruning={method: blocks, sparsity: 0.3}")
    with pytest.raises(InfeasibleError, match="P121"):
        asked("preserve=medical", "reduction.pruning={method: blocks, blocks: 1}")
    with pytest.raises(InfeasibleError, match=r"P121.*n_m"):
        asked("preserve=medical", "reduction.pruning={method: n_m}")
    with pytest.raises(InfeasibleError, match="P120"):
        asked("preserve=medical", "reduction.pruning.method=blocks", "train=none", "model.weights=included")

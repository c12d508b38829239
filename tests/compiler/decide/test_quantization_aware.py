"""Quantization-aware training in a plan: beside which candidates it stands, what it imitates, and what it needs."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from case import DATA, MODEL, PACKAGES, RECIPE, VNNI, bound, machine

from titrant.compiler.compile import compile_plan
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.facts import Layer

STATIC = ("quantization.method=ort.static", "export=[{format: onnx}]")


def plan_of(*changes, text=RECIPE, model=MODEL, on=VNNI):
    return compile_plan(bound(text, *changes), on, model, DATA)


def steps_of(plan):
    return {step.id: step for step in plan.steps}


def of(plan, operator):
    return [step for step in plan.steps if step.operator == operator]


def said(plan, subject):
    return next(line for line in plan.decisions if line.subject == subject)


def test_stands_beside_the_same_training_without_rounding():
    plan = plan_of("train.quantization_aware=true", *STATIC)
    candidates = {item.id: item for item in plan.candidates}
    assert list(candidates) == [
        "ort.static", "ort.static.equalized", "ort.static.clipped", "ort.static.fine_tuned", "ort.static.qat"
    ]  # fmt: skip
    assert [name for name, item in candidates.items() if not item.mends] == [
        "ort.static", "ort.static.fine_tuned", "ort.static.qat"
    ]  # fmt: skip
    # What loses less is gentler.
    ranks = {name: item.rank for name, item in candidates.items()}
    assert ranks["ort.static.qat"] < ranks["ort.static.fine_tuned"] < ranks["ort.static.clipped"] < ranks["ort.static"]
    (rounded,) = of(plan, "train.quantization_aware")
    assert rounded.inputs == {
        "model": "fit.model",
        "train": "transform.train",
        "tuning": "transform.tuning",
        "calibration": "transform.calibration",
    }
    # The fine-tuned original is trained once: as the control, and for the candidate.
    control = steps_of(plan)["control"]
    assert len(of(plan, "train.fit")) == 2
    assert {name: value for name, value in rounded.params.items() if name in control.params} == control.params
    assert steps_of(plan)["ort.static.fine_tuned.onnx"].inputs["model"] == "control.model"
    judged = {
        name: [gate["preset"] for gate in steps_of(plan)[f"{name}.contract"].params["gates"]] for name in candidates
    }
    assert [name for name, gates in judged.items() if "fine_tuned" in gates] == [
        "ort.static.fine_tuned", "ort.static.qat"
    ]  # fmt: skip
    assert said(plan, "control").because == "training alone may gain what quantization loses"
    assert said(plan, "train.quantization_aware").chosen == "ort.static.fine_tuned, ort.static.qat"


def test_imitates_what_each_method_rounds_to_and_leaves_what_it_leaves():
    on = machine("avx512_vnni", packages={**PACKAGES, "openvino": "2026.4.0", "nncf": "3.4.0"})
    plan = plan_of(
        "train.quantization_aware=true", "quantization.skip=[net.0]", "export=[{format: onnx}, {format: openvino}]",
        "level=balanced", "quantization.bits=8", on=on,
    )  # fmt: skip
    formats = {
        step.candidate: [
            step.params[name] for name in ("largest_weight", "per_channel", "symmetric_activations", "leave")
        ]
        for step in of(plan, "train.quantization_aware")
    }
    assert formats == {
        "ort.static.qat": [127, True, False, ["net.0"]],
        "openvino.ptq.qat": [127, True, True, ["net.0"]],
    }
    assert not [item.id for item in plan.candidates if item.id.startswith("ort.dynamic.")]
    rejected = {item.value: item.because for item in said(plan, "train.quantization_aware").rejected}
    assert rejected["ort.dynamic"] == "its activations stay in floating point, or their ranges are found as it runs"
    options = "quantization.options={reduce_range: true, rows: 64}"
    (step,) = of(plan_of("train.quantization_aware=true", *STATIC, options), "train.quantization_aware")
    assert (step.params["largest_weight"], step.params["rows"]) == (64, 64)


def test_waits_by_auto_until_calibration_loses_too_much():
    plan = plan_of("train.quantization_aware=auto", *STATIC)
    waiting = [item for item in plan.candidates if item.mends]
    assert [item.id for item in waiting][-2:] == ["ort.static.fine_tuned", "ort.static.qat"]
    assert {item.mends for item in waiting} == {"ort.static"}
    assert {step.stage for step in plan.steps if step.operator == "train.quantization_aware"} == {"search"}
    assert steps_of(plan)["control"].stage == "search"


def test_leaves_the_original_as_its_weights_are():
    text = RECIPE.replace("classes: auto}", "classes: auto}\n  weights: included")
    assert text != RECIPE
    plan = plan_of("train.quantization_aware=true", *STATIC, text=text)
    assert plan.original == "model.model"
    assert said(plan, "weights").because == "the train section is for candidates in int8"
    (rounded,) = of(plan, "train.quantization_aware")
    assert rounded.inputs["model"] == "model.model"


def test_takes_the_place_of_the_recovery_of_a_reduced_network():
    text = f"{RECIPE}reduction: {{pruning: {{method: magnitude, sparsity: 0.5}}}}\n"
    plan = plan_of("train.quantization_aware=true", *STATIC, text=text)
    assert [item.id for item in plan.candidates if not item.mends] == [
        "prune.magnitude+ort.static", "prune.magnitude+ort.static.qat"
    ]  # fmt: skip
    (rounded,) = of(plan, "train.quantization_aware")
    assert rounded.params["keep_zeros"]
    assert steps_of(plan)[rounded.inputs["model"].rpartition(".")[0]].operator == "prune.magnitude"


def test_costs_more_than_the_training_that_it_stands_beside():
    plan = plan_of("train.quantization_aware=true", *STATIC)
    rounded, control = steps_of(plan)["ort.static.qat.recovery"].prediction, steps_of(plan)["control"].prediction
    assert control.seconds < rounded.seconds < 4 * control.seconds
    assert control.peak_bytes < rounded.peak_bytes


def test_refuses_a_plan_in_which_nothing_can_be_trained_so():
    with pytest.raises(InfeasibleError) as refused:
        plan_of("train.quantization_aware=true", "export=[{format: torchscript}]", "level=balanced")
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.code == "P061"
    assert diagnostic.message == (
        "quantization-aware training is for candidates of openvino.ptq or ort.static or torchao.pt2e, and there are "
        "torch.dynamic"
    )
    attention = replace(MODEL, layers=(Layer("inner", "MultiheadAttention", 496, 1984, (16, 30), dtype="float32"),))
    with pytest.raises(InfeasibleError, match="no linear layer and no convolution that could be trained rounded"):
        plan_of("train.quantization_aware=true", *STATIC, model=attention)


def test_makes_the_calibrated_candidate_first_where_the_search_has_room_for_few():
    # The level is auto, and the model small: who trains for int8 asks for it.
    changes = ("train.quantization_aware=true", "export=[{format: onnx}]")
    made, lines = [], []
    for count in (1, 2, 3, 4):
        plan = plan_of(*changes, f"search.budget.evaluations={count}")
        made.append([item.id for item in plan.candidates if item.method == "ort.static" and not item.mends])
        lines.append(said(plan, "train.quantization_aware"))
    assert made == [
        [], ["ort.static"], ["ort.static", "ort.static.qat"], ["ort.static", "ort.static.fine_tuned", "ort.static.qat"]
    ]  # fmt: skip
    assert [line.chosen for line in lines] == [
        "none", "none", "ort.static.qat", "ort.static.fine_tuned, ort.static.qat"
    ]  # fmt: skip
    assert "ort.static.fine_tuned" in {item.value for item in lines[2].rejected}

"""What pruning becomes: which rows and readings its steps are given, what is trained, and which layers may be left."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind
from titrant.compiler.compile import compile_plan
from titrant.runtime import catalog
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.facts import Layer
from titrant.schema.language.parse import parse

specification = importlib.util.spec_from_file_location("small_recipes", Path(__file__).parents[1] / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)

BLOCKS = tuple(f"blocks.{place}" for place in range(3))
LAYERS = (
    *(Layer(f"{name}.linear", "Linear", 1024, 4096, (32, 32), 2048, 1024, "float32") for name in BLOCKS),
    Layer("head", "Linear", 64, 256, (2, 32), 128, 64, "float32"),
)
MODEL = replace(
    small.MODEL, layers=LAYERS, parameters=3136, trainable=3136, weight_bytes=12544, flops=6272, blocks=BLOCKS
)


def planned(pruning, *changes):
    text = small.TABULAR + f"reduction: {{pruning: {pruning}}}\nexport: [{{format: onnx}}]\n"
    bound = bind(
        parse(text, "x.yaml", folder=Path(), overrides=("level=balanced", "quantization.method=none", *changes))
    )
    return compile_plan(bound, small.HARDWARE, MODEL, small.JUDGED)


def steps_of(plan):
    return {step.operator: step for step in plan.steps}


def test_measures_blocks_on_tuning_rows_and_reads_outputs_as_the_contract_does():
    step = steps_of(planned("{method: blocks, blocks: 2}"))["prune.blocks"]
    assert step.inputs == {"model": "fit.model", "tuning": "transform.tuning"}
    assert step.params["blocks"] == 2
    assert step.params["reading"]["task"] == "binary_classification"


def test_plans_every_layer_that_a_removal_may_leave():
    """Which blocks go shows only when it was measured: none is left out of what is asked of the engine."""
    step = steps_of(planned("{method: blocks, blocks: 2}"))["validate.executed"]
    assert step.params["layers"] == [*(f"{name}.linear" for name in BLOCKS), "head"]
    assert step.inputs["removed"] == "prune.blocks+onnx-fp32.prune.blocks.removed"


def test_calibrates_activations_and_keeps_zeros_in_recovery():
    steps = steps_of(planned("{method: activation, score: wanda, sparsity: 0.5}"))
    assert steps["prune.activation"].inputs["calibration"] == "transform.calibration"
    recoveries = [step for step in planned("{method: n_m}").steps if step.id.endswith("recovery")]
    assert [step.params["keep_zeros"] for step in recoveries] == [True]


def test_trains_while_masks_rise_and_no_further():
    plan = planned("{method: magnitude, schedule: gradual, sparsity: 0.6, scope: global}")
    step = steps_of(plan)["prune.gradual"]
    assert step.inputs == {"model": "fit.model", "train": "transform.train", "tuning": "transform.tuning"}
    assert (step.params["sparsity"], step.params["scope"], step.params["epochs"]) == (0.6, "global", 2)
    assert not [step for step in plan.steps if step.id.endswith("recovery")]
    assert [item.id for item in plan.candidates] == ["prune.gradual+onnx-fp32"]
    # It is trained: the original gets the same training beside.
    assert "control" in {step.id for step in plan.steps}


def test_takes_magnitude_for_a_schedule_without_a_method():
    assert "prune.gradual" in steps_of(planned("{schedule: gradual}"))


@pytest.mark.parametrize("method", ["magnitude, sparsity: 0.5", "blocks, blocks: 1", "magnitude, schedule: gradual"])
def test_asks_the_users_check_about_what_is_left_after_training(method):
    plan = planned(f"{{method: {method}, validate: 'titrant.recipes.models:TabularNet'}}")
    step = steps_of(plan)["validate.reduced"]
    before = next(item for item in plan.steps if item.id == step.inputs["model"].rpartition(".")[0])
    assert before.operator == ("prune.gradual" if "gradual" in method else "train.fit")
    assert step.inputs["tuning"] == "transform.tuning"
    assert steps_of(plan)["export.onnx"].inputs["model"] == f"{step.id}.model"
    assert "check" not in plan.candidates[0].id


def test_never_masks_by_auto():
    masking = [name for name in catalog.reductions("prune") if "masked" in catalog.get(name).outputs]
    assert {"prune.magnitude", "prune.n_m", "prune.activation", "prune.gradual"} <= {*masking}
    assert all(catalog.get(name).method.by_name for name in masking)
    assert not catalog.get("prune.blocks").method.by_name


def test_refuses_more_blocks_than_the_model_has():
    with pytest.raises(InfeasibleError, match=r"P061: .*4 blocks are to be removed, and 3 can be") as refused:
        planned("{method: blocks, blocks: 4}")
    assert refused.value.diagnostics[0].help == "write reduction.pruning.blocks: 3 or less"


def test_compares_what_is_left_with_the_original_on_evaluation_rows_before_it_is_quantized():
    """A figure: no gate reads it, nothing is chosen by it, and it is asked once for all candidates of one network."""
    plan = planned("{method: blocks, blocks: 2}", "quantization.method=ort.static")
    steps = {step.id: step for step in plan.steps}
    references = {candidate.reduced for candidate in plan.candidates}
    assert (len(plan.candidates) > 1, references) == (True, {("prune.blocks.kept.judgement",)})
    kept, answers = steps["prune.blocks.kept"], steps["prune.blocks.answers"]
    assert (kept.operator, kept.stage, answers.stage) == ("validate.contract", "observe", "observe")
    assert answers.inputs == {"model": "recovery.model", "rows": "transform.evaluation"}
    assert kept.inputs["original"] == "baseline.evaluation.outputs"
    assert kept.inputs["candidate"] == "prune.blocks.answers.outputs"
    (gate,) = kept.params["gates"]
    asked = next(each for each in plan.contract.gates if each.preset == "retention")
    assert (gate["metric"], gate["threshold"], gate["test"]) == (asked.metric, asked.threshold, asked.test)
    assert not [step.id for step in plan.steps if "prune.blocks.kept.judgement" in step.inputs.values()]


def test_compares_each_reduction_by_itself_and_where_no_retention_is_asked_as_well():
    plan = planned("{method: magnitude, sparsity: 0.5}", "validation.retention=none", "validation.safety=none")
    assert not [gate for gate in plan.contract.gates if gate.preset == "retention"]
    (kept,) = [step for step in plan.steps if step.id.endswith(".kept")]
    assert (kept.params["gates"][0]["metric"], kept.params["gates"][0]["threshold"]) == ("accuracy", 0.95)


def test_asks_nothing_of_the_kind_where_no_network_is_reduced():
    bound = bind(parse(small.TABULAR, "x.yaml", folder=Path(), overrides=("quantization.method=none",)))
    plan = compile_plan(bound, small.HARDWARE, MODEL, small.JUDGED)
    assert [candidate.reduced for candidate in plan.candidates] == [()] * len(plan.candidates)
    assert not [step for step in plan.steps if step.stage == "observe"]

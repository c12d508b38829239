"""Verification: every kind of defect is found, and a sound plan passes."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.lower.verify import PlanDefectError, problems, verify
from titrant.runtime.catalog import Port
from titrant.schema.plan import Step

specification = importlib.util.spec_from_file_location("toy_plan", Path(__file__).parents[1] / "toy_plan.py")
toys = importlib.util.module_from_spec(specification)
specification.loader.exec_module(toys)


def without(plan, identifier):
    return replace(plan, steps=tuple(step for step in plan.steps if step.id != identifier))


def found(plan):
    return "\n".join(problems(plan, toys.declare))


def test_accepts_a_sound_plan():
    verify(toys.toy_plan(), declare=toys.declare)


@pytest.mark.parametrize(
    ("identifier", "fields", "message"),
    [
        ("fit", {"operator": "fti"}, "fit: there is no operator fti"),
        ("fit", {"version": 2}, "fit: fit is version 1, not 2"),
        ("fit", {"stage": "later"}, "fit: there is no stage 'later'"),
        ("tiny", {"id": "small"}, "small: 2 steps have this id"),
        ("rows", {"id": "run"}, "'run' cannot be a step's id"),
        ("fit", {"inputs": {"model": "mode.model", "train": "rows.tuning"}}, "but there is no step mode"),
        ("fit", {"inputs": {"model": "small.model", "train": "rows.tuning"}}, "which comes later"),
        ("fit", {"inputs": {"model": "model.model"}}, "fit: its train comes from nowhere"),
        ("baseline", {"inputs": {"model": "fit.mdl", "rows": "rows.tuning"}}, "but fit gives no mdl"),
        ("baseline", {"inputs": {"model": "rows.tuning", "rows": "rows.tuning"}}, "but rows.tuning is rows"),
        ("baseline", {"inputs": {"model": "fit.model", "rows": "rows.tuning", "x": "rows.tuning"}}, "has no input x"),
        ("latency", {"inputs": {"models": "fit.model"}}, "latency: its models takes a mapping of values"),
        ("fit", {"inputs": {"model": {"a": "model.model"}, "train": "rows.tuning"}}, "its model takes one value"),
        ("tiny", {"params": {"bits": 9}}, "tiny: parameter bits: Input should be less than or equal to 8"),
        ("tiny", {"params": {"bots": 4}}, "tiny: parameter bots: Extra inputs are not permitted"),
        ("baseline", {"inputs": {"model": "model.model", "rows": "rows.tuning"}}, "which fit consumed"),
        ("baseline", {"inputs": {"model": "fit.model", "rows": "rows.evaluation"}}, "reads evaluation rows at stage"),
        ("small.contract", {"stage": "measure"}, "small.contract: it reads evaluation rows at stage measure"),
        ("small.contract", {"params": {"gates": [{"id": "g1"}]}}, "small: nothing judges gate g2"),
        ("small", {"candidate": "smal"}, "small: there is no candidate smal"),
    ],
)
def test_finds_a_defective_step(identifier, fields, message):
    assert message in found(toys.changed(toys.toy_plan(), identifier, **fields))


def test_wants_timings_for_a_gate_about_time():
    plan = toys.toy_plan()
    inputs = {"candidate": "small.evaluation.outputs", "model": "small.model"}
    assert "small: gate g2 needs timings" in found(toys.changed(plan, "small.contract", inputs=inputs))


def test_lets_no_timing_judge_that_chose():
    plan = toys.toy_plan()
    inputs = {"candidate": "small.evaluation.outputs", "model": "small.model", "timings": "latency.timings"}
    assert "small.contract judges by latency.timings, which chose" in found(
        toys.changed(plan, "small.contract", inputs=inputs)
    )


def test_wants_the_released_file_judged():
    inputs = {"candidate": "small.evaluation.outputs", "model": "tiny.model", "timings": "latency.timings"}
    plan = toys.changed(toys.toy_plan(), "small.contract", inputs=inputs)
    assert "small: small.contract judges another file" in found(plan)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "torchscript", "engine": "torch"}, "format torchscript cannot hold what small made (onnx)"),
        ({"engine": "torch"}, "small: engine torch does not load onnx"),
        ({"quality": "small.quality.q"}, "small's quality is small.quality.q, which no step gives"),
        ({"id": "tiny"}, "two candidates have one id"),
    ],
)
def test_finds_a_defective_candidate(fields, message):
    plan = toys.toy_plan()
    assert message in found(replace(plan, candidates=(replace(plan.candidates[0], **fields), plan.candidates[1])))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"candidates": ("small", "huge")}, "search model: there is no candidate huge"),
        ({"format": "torchscript"}, "search model: small is onnx, not torchscript"),
        ({"timings": "latency.times"}, "the timings of search model is latency.times, which no step gives"),
    ],
)
def test_finds_a_defective_search(fields, message):
    plan = toys.toy_plan()
    assert message in found(replace(plan, searches=(replace(plan.searches[0], **fields),)))


def test_wants_every_candidate_timed():
    plan = toys.changed(
        toys.toy_plan(), "latency", inputs={"models": {"original": "fit.model", "small": "small.model"}}
    )
    assert "search model: tiny is not timed" in found(plan)


def test_wants_the_plain_conversion_of_every_candidate_timed():
    plan = toys.toy_plan()
    first, *others = plan.candidates
    plan = replace(plan, candidates=(replace(first, plain="onnx-fp32"), *others))
    assert "search model: onnx-fp32 is not timed" in found(plan)
    assert found(replace(plan, candidates=(replace(first, plain="original"), *others))) == ""


def test_names_every_problem_and_the_passes_that_ran_before():
    plan = toys.changed(toys.toy_plan(), "tiny", params={"bits": 1})
    plan = toys.changed(plan, "small", params={"bits": 1})
    with pytest.raises(PlanDefectError) as caught:
        verify(plan, declare=toys.declare, passes=("share", "drop unread"))
    assert len(caught.value.problems) == 2
    assert str(caught.value).startswith("the plan is defective (after share, drop unread):\n- small:")


def test_allows_an_optional_input_to_be_left_out():
    operators = {**toys.OPERATORS, "lone": toys.toy("lone", {"x": Port(("rows",), optional=True)}, {"y": "value"})}
    plan = toys.toy_plan()
    lone = Step("lone", "lone", 1, {}, {}, 42, "prepare")
    assert problems(replace(plan, steps=(lone, *plan.steps)), operators.__getitem__) == ()


def test_reads_no_parameters_again_that_were_verified_before():
    plan = toys.toy_plan()
    wrong = toys.changed(plan, "tiny", params={"bits": 9})
    assert "parameter bits" in "\n".join(problems(wrong, toys.declare, verified=plan))
    assert problems(wrong, toys.declare, verified=wrong) == ()

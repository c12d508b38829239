"""Passes: what each changes, and that what they promise is checked."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.lower.verify import PlanDefectError, problems
from titrant.compiler.passes import passes
from titrant.compiler.passes.passes import order_by_stage
from titrant.compiler.passes.simplify import drop_unread, share

specification = importlib.util.spec_from_file_location("toy_plan", Path(__file__).parents[1] / "toy_plan.py")
toys = importlib.util.module_from_spec(specification)
specification.loader.exec_module(toys)


def ids(plan):
    return [step.id for step in plan.steps]


def by_id(plan, identifier):
    return next(step for step in plan.steps if step.id == identifier)


def test_shares_the_export_that_two_candidates_begin_with():
    plan = share(toys.toy_plan())
    assert "onnx" in ids(plan)
    assert not {"small.onnx", "tiny.onnx"} & set(ids(plan))
    assert by_id(plan, "small").inputs == by_id(plan, "tiny").inputs == {"model": "onnx.model"}
    assert by_id(plan, "onnx").candidate == ""
    assert problems(plan, toys.declare) == ()


def test_shares_whole_chains_that_are_alike_and_rewires_the_candidates():
    plan = toys.changed(toys.toy_plan(), "tiny", params={"bits": 8})
    shared = share(plan)
    assert [candidate.model for candidate in shared.candidates] == ["tiny.model"] * 2
    assert [candidate.answers for candidate in shared.candidates] == ["tuning.outputs"] * 2
    assert by_id(shared, "latency").inputs["models"]["small"] == "tiny.model"
    assert problems(shared, toys.declare) == ()


def test_does_not_share_work_with_other_parameters_seeds_or_inputs():
    plan = toys.changed(toys.toy_plan(), "tiny.onnx", seed=43)
    assert share(plan) == plan


def test_takes_a_file_by_its_content_when_it_compares_parameters():
    plan = toys.toy_plan()
    for name, path in (("small.onnx", "/a"), ("tiny.onnx", "/b")):
        plan = toys.changed(plan, name, params={"file": {"path": path, "digest": "00"}})
    assert "onnx" in ids(share(plan))


def test_keeps_a_name_that_another_merged_step_is_going_to_have():
    """Of `onnx` and its double the shorter name stays, so that the shared exports before them cannot be called so."""
    plan = toys.toy_plan()
    like = by_id(plan, "tiny")
    doubles = tuple(replace(like, id=name, params={"bits": 2}) for name in ("double.of.it", "onnx"))
    shared = share(replace(plan, steps=(*plan.steps, *doubles)))
    assert len(ids(shared)) == len(set(ids(shared)))
    assert by_id(shared, "onnx").params == {"bits": 2}


def test_keeps_a_name_that_is_taken():
    plan = toys.toy_plan()
    plan = replace(plan, steps=(toys.step("onnx", "rows", stage="prepare"), *plan.steps))
    assert "tiny.onnx" in ids(share(plan))  # the shortest of the merged ids


def test_drops_what_nobody_reads_and_what_only_that_read():
    plan = toys.toy_plan()
    lone = toys.step("lone", "export", {"model": "fit.model"})
    after = toys.step("after", "shrink", {"model": "lone.model"})
    extended = replace(plan, steps=(*plan.steps[:4], lone, after, *plan.steps[4:]))
    assert drop_unread(extended) == plan


def test_keeps_the_report_and_what_is_shipped():
    plan = toys.toy_plan()
    lone = toys.step("lone", "export", {"model": "fit.model"})
    shipped = replace(plan, steps=(*plan.steps[:4], lone, *plan.steps[4:]), shipped={"extra": "lone.model"})
    assert drop_unread(shipped) == shipped
    assert ids(drop_unread(plan))[-1] == "report"


def test_orders_by_stage_and_keeps_the_order_within_one():
    plan = toys.toy_plan()
    steps = sorted(plan.steps, key=lambda step: step.stage == "prepare" and step.id not in ("rows", "model", "fit"))
    baseline_last = replace(plan, steps=(*steps[:-2], steps[-1], steps[-2]))
    ordered = order_by_stage(baseline_last)
    assert ids(ordered)[:4] == ["rows", "model", "fit", "baseline"]
    assert [step.id for step in ordered.steps if step.stage == "make"] == [
        step.id for step in plan.steps if step.stage == "make"
    ]


def test_moves_a_step_to_the_stage_that_needs_it():
    plan = toys.changed(toys.toy_plan(), "rows", stage="judge")
    ordered = order_by_stage(plan)
    assert by_id(ordered, "rows").stage == "prepare"


def test_gives_the_same_plan_when_run_again():
    once = passes.run(toys.toy_plan(), declare=toys.declare)
    assert passes.run(once, declare=toys.declare) == once


def test_verifies_again_only_what_a_pass_changed(monkeypatch):
    plan = passes.run(toys.toy_plan(), declare=toys.declare)
    verified = []
    monkeypatch.setattr(passes, "verify", lambda plan, **_: verified.append(ids(plan)))
    passes.run(plan, declare=toys.declare)
    assert verified == [ids(plan)]
    passes.run(toys.toy_plan(), declare=toys.declare)
    assert len(verified) > 2
    assert verified[-1] == ids(plan)


def test_traces_what_each_pass_changed():
    changes = []
    passes.run(toys.toy_plan(), declare=toys.declare, trace=changes.append)
    names = ["share", "drop unread", "order by stage", "validate early", "free what is read no more"]
    assert [change.name for change in changes] == names
    assert (changes[0].before, changes[0].after) == (changes[1].before + 1, changes[1].before)
    assert changes[0].removed == ("small.onnx", "tiny.onnx")
    assert changes[0].added == ("onnx",)
    assert set(changes[0].rewired) == {"small", "tiny"}
    assert changes[1:4] == [replace(changes[1], name=change.name) for change in changes[1:4]]
    assert not changes[4].moved


def test_refuses_a_pass_that_breaks_the_plan_and_says_what_ran_before():
    broken = passes.Pass("forget", lambda plan: replace(plan, steps=plan.steps[1:]))
    with pytest.raises(PlanDefectError, match="after share, forget") as caught:
        passes.run(toys.toy_plan(), (passes.PASSES[0], broken), declare=toys.declare)
    assert any("there is no step rows" in line for line in caught.value.problems)


def test_refuses_a_pass_that_does_not_do_what_it_promises():
    idle = passes.Pass("idle", lambda plan: plan, ensures=("shared",))
    with pytest.raises(PlanDefectError, match=r"not shared: tiny\.onnx does the same work as small\.onnx"):
        passes.run(toys.toy_plan(), (idle,), declare=toys.declare)


def test_refuses_a_pass_whose_needs_are_not_met():
    with pytest.raises(PlanDefectError, match="order by stage needs a plan that is shared"):
        passes.run(toys.toy_plan(), (passes.PASSES[2],), declare=toys.declare)

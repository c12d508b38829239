"""The passes that place and free: what each promises on real plans, and that a broken promise is found."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind
from titrant.compiler.compile import compile_plan
from titrant.compiler.lower.plan_graph import plan_references, references
from titrant.compiler.lower.verify import PlanDefectError, problems
from titrant.compiler.passes import passes
from titrant.compiler.passes.passes import free_unread, late, unfreed, validate_early
from titrant.compiler.passes.simplify import drop_no_ops, has_no_ops
from titrant.runtime import catalog
from titrant.schema.facts import Layer
from titrant.schema.language.parse import parse
from titrant.schema.plan import STAGES, plan_digest

specification = importlib.util.spec_from_file_location("small_recipes", Path(__file__).parents[1] / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)


@pytest.fixture(scope="module")
def plan():
    bound = bind(parse(small.TABULAR, "x.yaml", folder=Path(), overrides=("quantization.method=auto",)))
    return compile_plan(bound, small.HARDWARE, small.MODEL, small.JUDGED)


def ids(plan):
    return [step.id for step in plan.steps]


def shuffled(plan):
    """Put every validating step of a stage behind all other work of it, as a careless lowering would."""
    steps = sorted(plan.steps, key=lambda one: (STAGES.index(one.stage), one.operator.startswith("validate.")))
    return replace(plan, steps=tuple(steps))


def test_judges_a_candidate_on_tuning_rows_before_the_next_is_made(plan):
    careless = shuffled(plan)
    assert problems(careless) == ()
    assert late(careless)
    placed = validate_early(careless)
    assert late(placed) == ()
    assert problems(placed) == ()
    order = ids(placed)
    for candidate, following in zip(plan.candidates, plan.candidates[1:], strict=False):
        assert order.index(f"{candidate.id}.quality") < order.index(following.id)


def test_finds_a_pass_that_promises_early_validation_and_does_not_keep_it(plan):
    idle = passes.Pass("careless", shuffled, ensures=("early",))
    with pytest.raises(PlanDefectError, match=r"not early: .* could come right behind"):
        passes.run(plan, (idle,))


def test_frees_each_value_after_the_step_that_reads_it_last(plan):
    order = ids(plan)
    freed = {reference: step.id for step in plan.steps for reference in step.frees}
    assert freed["load.tables"] == "transform"
    assert freed["transform.train"] == "fit"
    kept = {reference for _, reference in plan_references(plan)}
    assert not kept & set(freed)
    for reference, freer in freed.items():
        readers = [step.id for step in plan.steps if reference in dict.fromkeys(r for _, r in references(step))]
        assert max(readers, key=order.index) == freer


def test_finds_a_step_that_frees_what_is_still_read(plan):
    broken = replace(
        plan, steps=tuple(replace(one, frees=("load.tables",)) if one.id == "split" else one for one in plan.steps)
    )
    assert any("split frees ['load.tables']" in line for line in unfreed(broken))
    assert unfreed(free_unread(broken)) == ()
    careless = passes.Pass("careless", lambda _: broken, ensures=("freed",))
    with pytest.raises(PlanDefectError, match="not freed: split"):
        passes.run(plan, (careless,))


def test_keeps_hints_out_of_the_identity(plan):
    bare = replace(plan, steps=tuple(replace(one, frees=()) for one in plan.steps))
    assert plan_digest(bare) == plan_digest(plan)


def test_drops_a_fusion_where_there_is_nothing_to_fuse_and_keeps_it_elsewhere(plan):
    order = ids(plan)
    assert "torchscript-fp32" in order
    assert not [name for name in order if name.endswith("fused")]
    normalized = replace(small.MODEL, layers=(*small.MODEL.layers, Layer("bn", "BatchNorm2d", 4, 16, (2,))))
    bound = bind(parse(small.TABULAR, "x.yaml", folder=Path(), overrides=("quantization.method=auto",)))
    fused = compile_plan(bound, small.HARDWARE, normalized, small.JUDGED)
    assert "fused" in " ".join(ids(fused))
    assert has_no_ops(small.MODEL, catalog.get)(fused)
    assert has_no_ops(small.MODEL, catalog.get)(drop_no_ops(small.MODEL, catalog.get)(fused)) == ()


def test_finds_a_plan_in_which_something_idle_is_left(plan):
    check = {"busy": lambda _: ("fused has nothing to do",)}
    lazy = passes.Pass("lazy", lambda plan: plan, ensures=("busy",), properties=check)
    with pytest.raises(PlanDefectError, match="not busy: fused has nothing to do"):
        passes.run(plan, (lazy,))

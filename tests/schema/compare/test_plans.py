"""What differs between two compiled plans, and which input each difference follows from."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from titrant.compiler.bind.bind import bind
from titrant.compiler.compile import compile_plan
from titrant.schema.compare.plans import LAYERS, MadePlan, compare_plans, steps
from titrant.schema.facts import Gpu
from titrant.schema.language.parse import parse
from titrant.schema.plan import Plan, Step, identity
from titrant.schema.values.canonical import WrongValueError, plain, read_back

specification = importlib.util.spec_from_file_location(
    "small_recipes", Path(__file__).parents[2] / "compiler" / "small_recipes.py"
)
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)


def made(*overrides, hardware=small.HARDWARE, data=small.JUDGED):
    parsed = parse(small.TABULAR, "x.yaml", folder=Path(), overrides=overrides)
    return MadePlan(compile_plan(bind(parsed), hardware, small.MODEL, data), parsed)


def machine(**identity):
    return replace(small.HARDWARE, identity=replace(small.HARDWARE.identity, **identity))


def causes(found, layer):
    return {one.path: one.cause for one in found if one.layer == layer}


def test_finds_nothing_between_a_plan_and_itself():
    assert compare_plans(made(), made()) == ()


def test_gives_the_same_the_other_way_round_with_old_and_new_swapped():
    one, other = made("quantization.method=none"), made("seed=7", hardware=machine(instructions=("avx_vnni",)))
    there = {(d.layer, d.path, str(d.old), str(d.new)) for d in compare_plans(one, other)}
    back = {(d.layer, d.path, str(d.new), str(d.old)) for d in compare_plans(other, one)}
    assert there == back
    assert len(there) > 5


def test_lists_inputs_first_and_then_what_follows_in_a_fixed_order():
    found = compare_plans(made(), made("train.epochs=9", hardware=machine(cores=64)))
    places = [LAYERS.index(one.layer) for one in found]
    assert places == sorted(places)
    assert [one.path for one in found[:2]] == ["train.epochs", "cores"]


def test_blames_the_one_input_that_differs_for_everything():
    found = compare_plans(made(), made("train.epochs=9"))
    assert {one.cause for one in found if one.layer != "recipe"} == {"recipe train.epochs"}
    assert causes(found, "steps") == {"fit.params.epochs": "recipe train.epochs"}


def test_tells_the_causes_of_decisions_apart_where_several_inputs_differ():
    other = made(
        "train.epochs=9", "quantization.method=ort.static", "target.size=90 KiB",
        hardware=machine(instructions=("avx2", "avx512_vnni")),
    )  # fmt: skip
    found = compare_plans(made("quantization.method=auto"), other)
    assert causes(found, "steps")["fit.params.epochs"] == "recipe train.epochs"
    assert causes(found, "contract")["size"] == "recipe target.size"
    method = causes(found, "decisions")["quantization.method"]
    assert "recipe quantization.method" in method
    assert "epochs" not in method
    assert causes(found, "decisions")["quantization.options.reduce_range"] == (
        "recipe quantization.method or hardware instructions"
    )


def test_blames_the_accelerator_for_a_changed_format_of_a_cast():
    step = Step("cast", "model.cast", 1, {"dtype": "bfloat16"}, {}, 42, "make")
    old = made()
    old = replace(old, plan=replace(old.plan, steps=(step,)))
    other = machine(
        gpus=(Gpu(0, "T4", "cuda", 16 << 30, "7.5"),), packages={**small.HARDWARE.identity.packages, "torch": "9.9"}
    )
    plan = replace(old.plan, steps=(replace(step, params={"dtype": "float16"}),), hardware=other.identity)
    assert causes(compare_plans(old, replace(old, plan=plan)), "steps") == {"cast.params.dtype": "hardware gpus"}


def test_names_the_version_of_a_package_and_the_data():
    packages = {**small.HARDWARE.identity.packages, "torch": "9.9"}
    found = compare_plans(made(), made(hardware=machine(packages=packages)))
    assert [(one.layer, one.path, one.new) for one in found] == [("hardware", "packages.torch", "9.9")]
    found = compare_plans(made(), made(data=replace(small.JUDGED, digest="other")))
    assert (found[0].layer, found[0].path) == ("inputs", "data")


def test_says_so_where_no_input_differs():
    plan = made().plan
    first = replace(plan.decisions[0], chosen="another")
    found = compare_plans(MadePlan(plan), MadePlan(replace(plan, decisions=(first, *plan.decisions[1:]))))
    assert [one.cause for one in found] == ["no input differs: another version of titrant made it"]


def test_takes_new_predictions_alone_for_no_other_plan():
    plan = made().plan
    learned = tuple(replace(one, prediction=replace(one.prediction, seconds=9.0)) for one in plan.steps)
    found = compare_plans(MadePlan(plan), MadePlan(replace(plan, steps=learned)))
    assert {(one.layer, one.measured) for one in found} == {("predictions", True)}


PLAN = made("search.budget={minutes: 9}", "validation.baseline={metric: accuracy, at_least: 0.9}").plan


def changed(value, draw):
    """Return a value of JSON types of which one part is another one, or gone."""
    if isinstance(value, (dict, list)) and value:
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        other = dict(value) if isinstance(value, dict) else list(value)
        if isinstance(value, list) and draw(st.integers(0, 9)) == 0:
            del other[key]
        else:
            other[key] = changed(value[key], draw)
        return other
    if isinstance(value, bool):
        return not value
    return {int: lambda: value + 1, float: lambda: value / 2, str: lambda: f"{value}x"}.get(type(value), lambda: 7)()


@given(st.data())
def test_never_calls_plans_the_same_whose_identity_differs(data):
    try:
        other = read_back(Plan, changed(plain(PLAN), data.draw))
    except WrongValueError:
        assume(False)
    if identity(other) != identity(PLAN):
        assert compare_plans(MadePlan(PLAN), MadePlan(other))


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"search_minutes": 5.0}, "search_minutes"),
        ({"mended_at_most": 4}, "mended_at_most"),
        ({"fitness": ()}, "fitness"),
        ({"original_judgement": ""}, "original_judgement"),
        ({"original_limits": "limits.judgement"}, "original_limits"),
        ({"profiled": ("memory",)}, "profiled"),
        ({"contract": replace(PLAN.contract, looks="open")}, "looks"),
        ({"decisions": (replace(PLAN.decisions[0], rule="another"), *PLAN.decisions[1:])}, PLAN.decisions[0].subject),
    ],
)
def test_names_what_holds_for_the_whole_plan(part, path):
    assert [one.path for one in compare_plans(MadePlan(PLAN), MadePlan(replace(PLAN, **part)))] == [path]


def test_names_the_gates_that_a_step_judges_otherwise_than_the_contract_says():
    place = next(place for place, step in enumerate(PLAN.steps) if step.id == "original.contract")
    step = PLAN.steps[place]
    baseline = next(gate for gate in step.params["gates"] if gate["id"] == "baseline")
    assert all(not path.endswith("gates") for path in steps(PLAN)[step.id]["params"])
    looser = replace(step, params={**step.params, "gates": [{**baseline, "threshold": 0.4}]})
    other = replace(PLAN, steps=(*PLAN.steps[:place], looser, *PLAN.steps[place + 1 :]))
    differences = compare_plans(MadePlan(PLAN), MadePlan(other))
    assert [one.path for one in differences] == ["original.contract.params.gates"]
    assert differences[0].new["baseline"]["threshold"] == 0.4

"""A plan as text and as Markdown, whole; and the words of refusals that prove a plan impossible."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.cli.plan import coverage_text, plan_text, trace_text
from titrant.cli.plan_markdown import plan_markdown
from titrant.cli.plan_rows import rejected_rows
from titrant.compiler.bind.bind import bind
from titrant.compiler.compile import compile_plan
from titrant.compiler.predict.layer_coverage import coverage
from titrant.compiler.predict.memory import Case, needs, short_of
from titrant.schema.cost import Capacity
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.diagnostics.render import render
from titrant.schema.language.parse import parse
from titrant.schema.plan import Coverage, Decision, LayerGroup, ModelCost, Prediction, Rejected, StepPreview

HERE = Path(__file__).parent
specification = importlib.util.spec_from_file_location("small", HERE.parent / "compiler" / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)

FORECAST = {
    "load": StepPreview("="),
    "fit": StepPreview("~", "because params.epochs changed from 3 to 2"),
    "latency": StepPreview("!", "this machine has no device cuda"),
}
GONE = (("old.static", "quantize.ort_static"),)


def asked(*overrides):
    return bind(parse(small.TABULAR, "x.yaml", folder=Path(), overrides=overrides))


def compiled(*overrides, hardware=small.HARDWARE, trace=None):
    return compile_plan(asked(*overrides), hardware, small.MODEL, small.JUDGED, trace=trace)


@pytest.fixture(scope="module")
def made():
    """A plan with round predictions, so that what is predicted can change without these texts."""
    overrides = ("quantization.method=auto", "target.size=90 KiB", "target.latency.p95=5 ms")
    plan = compiled(*overrides)
    cost = Prediction(1.5, 3 << 20, 2048, "modelled", {"output_bytes": "counted"})
    seconds = {one.id: 2e-5 / (1 + place) for place, one in enumerate(plan.candidates)} | {"original": 9e-5}
    models = {name: ModelCost({"1": took}, 1 << 20) for name, took in seconds.items()}
    steps = [replace(one, prediction=cost) for one in plan.steps]
    steps = [replace(one, prediction=replace(cost, models=models)) if one.id == "latency" else one for one in steps]
    sized = tuple(replace(one, predicted_bytes=20_000 * (place + 1)) for place, one in enumerate(plan.candidates))
    plan = replace(plan, steps=tuple(steps), candidates=sized)
    return plan, coverage(plan, asked(*overrides), small.HARDWARE, small.MODEL)


def golden(name, text):
    file = HERE / "golden" / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")


def test_writes_the_plan_for_a_pull_request(made):
    plan, layers = made
    golden("plan.md", plan_markdown(plan, FORECAST, coverage=layers, gone=GONE))


def test_tells_why_a_step_runs_again_where_another_is_not_the_reason(made):
    plan, _ = made
    previews = FORECAST | {
        "point": StepPreview("~", "because fit runs again", follows=True),
        "report": StepPreview("~", "because what it reads is made again", follows=True),
    }
    short = plan_text(plan, previews)
    assert "because params.epochs changed from 3 to 2" in short
    assert "runs again\n" not in short
    assert "made again\n" not in short
    assert "      because fit runs again\n" in plan_text(plan, previews, verbose=True)


def test_calls_nobody_into_the_pull_request(made):
    plan, layers = made
    warned = replace(plan, name="x`@someone`", warnings=("ask @someone",))
    text = plan_markdown(warned, FORECAST, coverage=layers)
    assert "ask @&#8203;someone" in text
    assert text.startswith("## Plan of `` x`@someone` ``\n")


def test_writes_the_plan_for_the_console(made):
    plan, layers = made
    golden("plan.txt", plan_text(plan, FORECAST, coverage=layers, gone=GONE, verbose=True))


def test_leaves_layers_and_reasons_of_steps_out_unless_asked(made):
    plan, layers = made
    text = plan_text(plan, FORECAST, coverage=layers)
    assert "coverage" not in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_keeps_markup_in_a_recipe_from_being_taken_for_markdown(made):
    plan, _ = made
    first = replace(plan.decisions[0], because="a|b <i>*c*</i>")
    text = plan_markdown(replace(plan, decisions=(first, *plan.decisions[1:])))
    assert r"a\|b \<i\>\*c\*\</i\>" in text


def test_says_unknown_where_nothing_is_predicted(made):
    plan, _ = made
    bare = replace(
        plan,
        steps=tuple(replace(one, prediction=Prediction()) for one in plan.steps),
        candidates=tuple(replace(one, predicted_bytes=None) for one in plan.candidates),
    )
    assert "released model: size unknown, latency unknown, memory unknown" in plan_text(bare)


def test_traces_what_each_pass_changed():
    changes = []
    compiled("quantization.method=auto", trace=changes.append)
    golden("trace.txt", f"{trace_text(tuple(changes))}\n")


def test_groups_what_was_rejected_by_reason_the_actionable_first_and_counts_what_nobody_asked_for():
    rejected = (
        Rejected("far", "it runs on cuda", "on another machine", unasked=True),
        Rejected("slow", "slow"),
        Rejected("a", "its package is missing", "install it"),
        Rejected("other", "it gives another format", unasked=True),
        Rejected("b", "its package is missing", "install it"),
    )
    line = Decision("quantization.method", "auto", "x", "best", "method.auto", rejected)
    shown = [("a, b", "its package is missing: install it"), ("slow", "slow")]
    brief, whole = rejected_rows(line), rejected_rows(line, whole=True)
    assert list(brief[:-1]) == shown
    assert brief[-1][0] == "2 others"
    assert "titrant explain RECIPE quantization.method" in brief[-1][1]
    assert sorted(whole) == sorted(
        [*shown, ("far", "it runs on cuda: on another machine"), ("other", "it gives another format")]
    )


def test_shows_the_layers_of_candidates_only_and_names_the_other_methods():
    layers = (LayerGroup("Linear", ("net.0",), 4),)
    covered = (Coverage("here", True, layers), Coverage("there", False, layers), Coverage("elsewhere", False, layers))
    text = coverage_text(covered)
    assert "here: 1 of 1 layer" in text
    assert text.endswith("no candidates (their layers: titrant plan --json): there, elsewhere")
    assert "no candidates" not in coverage_text(covered[:1])


def test_keeps_the_decisions_of_an_auto_plan_on_one_screen():
    text = plan_text(compiled("quantization.method=auto"))
    assert len(text.partition("decisions\n")[2].partition("\n\nsteps")[0].splitlines()) <= 50


def refusal(*overrides, hardware=small.HARDWARE):
    with pytest.raises(InfeasibleError) as caught:
        compiled(*overrides, hardware=hardware)
    assert caught.value.exit_code == 3
    return "\n\n".join(render(one) for one in caught.value.diagnostics)


def machine(**identity):
    return replace(small.HARDWARE, identity=replace(small.HARDWARE.identity, **identity))


def test_words_every_refusal_with_demand_supply_and_the_smallest_change():
    without = machine(packages={"torch": "2.13.0", "onnx": "1.23.2"})
    plan = compiled("quantization.method=auto")
    running = [step.id for step in plan.steps if step.stage != "judge"]
    room = short_of(needs(Case(plan, small.MODEL, small.JUDGED)), running, Capacity(64 << 20, 1 << 14))
    texts = (
        refusal("target.device=cuda"),
        refusal("export=[{format: onnx}]", hardware=without),
        refusal("level=minimal", "target.size=1 KiB"),
        refusal("quantization.bits=4"),
        *(render(one) for one in room),
    )
    golden("infeasible.txt", "\n\n".join(texts) + "\n")

"""Differences between JSON values, between recipes, and between hand-made runs."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as some

from titrant.schema.compare.difference import Difference, differences, first_difference, same
from titrant.schema.compare.plans import compare_recipes
from titrant.schema.compare.runs import RecordedRun, compare_runs, first_cause
from titrant.schema.facts import HardwareIdentity
from titrant.schema.gate import Contract
from titrant.schema.language.parse import parse
from titrant.schema.plan import Decision, Plan, Step
from titrant.schema.record import Artifact, Dependency, Measurement, RunRecord, StepRecord, StepResult

SCALARS = some.none() | some.booleans() | some.integers(-9, 9) | some.floats(allow_nan=False) | some.text(max_size=3)
VALUES = some.recursive(
    SCALARS, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=2), inner, max_size=3)
)
RECIPE = """\
titrant: 1
name: demo
task: binary_classification
model:
  factory: titrant.recipes.models:TabularNet
data:
  source: {sklearn: breast_cancer}
  label: target
  transform: [standardize]
train: {epochs: 30}
target: {latency: {p95: 5 ms}}
"""


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_finds_nothing_between_a_value_and_itself(value):
    assert list(differences(value, value, "x")) == []


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES)
def test_gives_the_same_places_the_other_way_round_with_old_and_new_swapped(old, new):
    there = {(one.path, repr(one.old), repr(one.new)) for one in differences(old, new, "x")}
    back = {(one.path, repr(one.new), repr(one.old)) for one in differences(new, old, "x")}
    assert there == back
    assert bool(there) == (not same(old, new))


def test_compares_lists_of_mappings_entry_by_entry_only_where_they_are_of_one_length():
    old, new = {"gates": [{"at": 1}, {"at": 2}]}, {"gates": [{"at": 1}, {"at": 3}]}
    assert list(differences(old, new, "x")) == [Difference("x", "gates[1].at", 2, 3)]
    assert [one.path for one in differences(old, {"gates": [{"at": 1}]}, "x")] == ["gates"]


def test_tells_added_from_removed_and_true_from_one():
    assert [one.change for one in differences({"a": 1, "b": 2}, {"b": 3, "c": 4}, "x")] == [
        "removed", "changed", "added"
    ]  # fmt: skip
    assert not same(True, 1)
    assert same(1, 1.0)


def recipe(*changes: tuple[str, str], file: str = "a.yaml"):
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text, file, folder=Path())


def test_names_each_changed_key_of_two_recipes_with_both_places_and_values_as_written():
    found = compare_recipes(recipe(), recipe(("30", "20"), ("5 ms", "250 us"), file="b.yaml"))
    assert [(one.path, one.old, one.new, one.old_where, one.new_where) for one in found] == [
        ("target.latency.p95", "5 ms", "250 us", "a.yaml:11:20", "b.yaml:11:20"),
        ("train.epochs", 30, 20, "a.yaml:10:9", "b.yaml:10:9"),
    ]


def test_finds_no_difference_between_a_default_and_the_same_value_written():
    assert compare_recipes(recipe(), recipe(("name: demo", "seed: 42\nname: demo"))) == ()


def test_gives_no_place_for_a_key_that_stands_in_no_text():
    (found,) = compare_recipes(recipe(), recipe(("name: demo", "seed: 7\nname: demo")))
    assert (found.path, found.old, found.new, found.old_where, found.new_where) == ("seed", 42, 7, "", "a.yaml:2:1")


def test_shows_a_section_that_came_as_it_is_written():
    (found,) = compare_recipes(recipe(("target: {latency: {p95: 5 ms}}\n", "")), recipe())
    assert (found.change, found.path, found.new) == ("added", "target.latency", {"p95": "5 ms"})


MACHINE = HardwareIdentity("linux", "x86_64", "toy", ("avx2",), 2, 8 << 30, (), "3.11", {"torch": "2.13"})
PLAN = Plan(
    name="demo",
    recipe_digest="r",
    language=1,
    task="binary_classification",
    hardware=MACHINE,
    model_digest="m",
    data_digest="d",
    threads=1,
    timing_threads=1,
    deterministic=True,
    original="fit.model",
    original_engine="torch",
    decisions=(Decision("level", "auto", "balanced", "", "level.auto"),),
    steps=(
        Step("fit", "train.fit", 1, {"epochs": 3}, {}, 42, "prepare"),
        Step("file", "export.onnx", 1, {}, {"model": "fit.model"}, 42, "make"),
        Step("latency", "profile.latency", 1, {}, {"models": {"a": "file.model"}}, 42, "measure"),
        Step("judged", "validate.contract", 1, {}, {"timings": "latency.timings"}, 42, "judge"),
    ),
    candidates=(),
    searches=(),
    contract=Contract((), 0.95, "evidence"),
)


def done(name: str, key: str, digest: str, **measured: float) -> StepRecord:
    figures = tuple(Measurement(what, value) for what, value in measured.items())
    port = {"latency": "timings", "judged": "judgement"}.get(name, "model")
    return StepRecord(name, "finished", key, StepResult(key, "x", {port: Artifact("value", digest, 1)}, figures))


def run(*steps: StepRecord, plan: Plan = PLAN, **environment) -> RecordedRun:
    records = {step.step: step for step in FINISHED} | {step.step: step for step in steps}
    record = RunRecord("run", "demo", "p", "PASS", 0, tuple(records.values()), (), ("a",), 4, 0, 1.0)
    return RecordedRun(plan, record, {"packages": {"torch": "2.13", "pytest": "8"}, **environment})


FINISHED = (
    done("fit", "k1", "d1", loss=0.5),
    done("file", "k2", "d2"),
    done("latency", "k3", "d3", p50=1e-3),
    done("judged", "k4", "d4"),
)


def compared(old: RecordedRun, new: RecordedRun):
    return compare_runs(old, new, measures=lambda operator: operator.startswith("profile."))


def test_finds_nothing_between_a_run_and_itself():
    assert compared(run(), run()) == ()
    assert first_cause(()) is None


def test_names_the_parameter_that_changed_a_key_and_what_only_reads_the_step():
    fit = replace(PLAN.steps[0], params={"epochs": 4})
    other = run(
        done("fit", "k1x", "d1x", loss=0.4), done("file", "k2x", "d2x"),
        plan=replace(PLAN, recipe_digest="s", steps=(fit, *PLAN.steps[1:])),
    )  # fmt: skip
    found = compared(run(), other)
    assert first_cause(found).layer == "recipe"
    causes = {one.path: one.cause for one in found if one.layer == "keys"}
    assert causes == {"fit": "its params.epochs", "file": "fit.model, which it reads"}
    assert [one.path for one in found if one.layer == "metrics"] == ["fit.loss"]


def test_marks_figures_of_a_candidate_that_neither_run_judged():
    step = replace(PLAN.steps[1], candidate="a")
    other = run(done("file", "k2", "d2x", loss=2.0), plan=replace(PLAN, steps=(PLAN.steps[0], step, *PLAN.steps[2:])))
    before = run(done("file", "k2", "d2", loss=1.0))
    assert [one.path for one in compared(before, other) if one.minor] == ["file.loss"]
    assert not any(one.minor for one in compared(before, run(done("file", "k2", "d2x", loss=2.0))))


def test_marks_what_only_timings_moved_and_all_that_reads_them():
    other = run(done("latency", "k3", "d3x", p50=2e-3), done("judged", "k4x", "d4x"))
    found = compared(run(), other)
    assert found
    assert all(one.measured for one in found)
    assert first_cause(found).measured


def test_does_not_blame_timings_for_bytes_that_differ_under_one_key():
    found = compared(run(), run(done("file", "k2", "d2x"), done("latency", "k3x", "d3x")))
    cause = first_cause(found)
    assert (cause.layer, cause.path) == ("outputs", "file.model")  # the key of what reads it follows from it
    output = next(one for one in found if one.path == "file.model")
    assert not output.measured


def test_puts_inputs_before_the_environment_and_the_environment_before_keys():
    moved = replace(PLAN, data_digest="e", hardware=replace(MACHINE, instructions=("avx512_vnni",)))
    found = compared(run(), run(done("fit", "k1x", "d1x"), plan=moved))
    assert [one.layer for one in found][:3] == ["inputs", "environment", "keys"]
    assert first_cause(found).path == "data"


def test_sets_aside_a_package_that_no_step_uses():
    old, new = run(), run(packages={"torch": "2.13", "pytest": "9"})
    (found,) = compared(old, new)
    assert (found.layer, found.path) == ("aside", "packages.pytest")
    assert first_cause((found,)) is None
    used = run(packages={"torch": "2.14", "pytest": "8"})
    assert first_cause(compared(old, used)).path == "packages.torch"


def test_names_the_users_file_behind_other_bytes_under_the_same_key():
    def loaded(digest: str, made: str) -> StepRecord:
        step = done("fit", "k1", made)
        return replace(step, result=replace(step.result, dependencies=(Dependency("/me/net.py", digest),)))

    found = compared(run(loaded("one", "d1")), run(loaded("two", "d1x")))
    assert (first_cause(found).layer, first_cause(found).path) == ("inputs", "/me/net.py")
    assert next(one for one in found if one.layer == "outputs").cause == "/me/net.py"


def test_says_the_first_difference_with_both_values():
    old = {"gpus": [{"name": "a"}, {"name": "b"}], "cores": 2, "cpu": "x" * 100}
    assert first_difference(old, {**old, "gpus": [{"name": "a"}, {"name": "c"}], "cores": 3}, "hardware") == (
        "hardware.gpus[1].name was 'b' and is 'c'"
    )
    assert first_difference(old, {**old, "cpu": "y"}) == f"cpu was '{'x' * 76}... and is 'y'"
    assert first_difference(old, dict(old)) == ""

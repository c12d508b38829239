"""One walk: previewing a plan is executing it with a performer that only looks."""

import ast
import contextlib
import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.runtime.run.preview import LookupPerformer
from titrant.runtime.run.replay import Replay
from titrant.runtime.run.stages import walk_through
from titrant.runtime.run.walk import UnperformedError, Walk
from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.declarations import Declarations
from titrant.runtime.store.results import Results
from titrant.schema.gate import Gate
from titrant.schema.plan import Step

spec = importlib.util.spec_from_file_location("toy_crash_stages", Path(__file__).with_name("test_crash_points.py"))
crash = importlib.util.module_from_spec(spec)
sys.modules["toy_crash_stages"] = crash
spec.loader.exec_module(crash)

ROOT = Path(__file__).parents[3]
CORE = (*sorted((ROOT / "runtime" / "run").glob("*.py")), *(ROOT / f"src/titrant/api/{n}.py" for n in ("run", "plan")))
MOST_ARGUMENTS = 6


def with_own_gate(plan, verdict):
    """Ask something of the original alone, which it answers with a verdict."""
    gate = Gate("own", "baseline", "accuracy", "all", "at_least", 0.95, "exact_binomial", "recipe")
    inputs = {"original": "baseline.outputs", "candidate": "baseline.outputs", "model": plan.original}
    inputs |= {"rows": "load.rows", "point": "load.point"}
    params = {"candidate": "original", "original": verdict}
    judge = Step("original.contract", "toys:judge", 1, params, inputs, 7, "judge")
    return replace(
        plan,
        steps=(*plan.steps[:-1], judge, plan.steps[-1]),
        contract=replace(plan.contract, gates=(gate, *plan.contract.gates)),
        original_judgement="original.contract.judgement",
    )


def with_looks(plan):
    """Look inside the original, which is seen, and inside each candidate, which is not."""
    looks = [Step("original.look", "toys:look", 1, {"fails": False}, {"model": plan.original}, 7, "observe")]
    looks += [
        Step(f"{each.id}.look", "toys:look", 1, {"fails": True}, {"model": each.model}, 7, "observe", each.id)
        for each in plan.candidates
    ]
    return replace(plan, steps=(*plan.steps[:-1], *looks, plan.steps[-1]))


PLANS = {
    "looks inside models": lambda make_plan: with_looks(make_plan()),
    "plain": lambda make_plan: make_plan(),
    "a candidate that fails": lambda make_plan: make_plan((1, 2, 3), verdicts={2: "FAIL"}),
    "a candidate that is refused": lambda make_plan: make_plan(make={1: {"do": "refuse"}}),
    "an original that is good enough": lambda make_plan: with_own_gate(make_plan(), "PASS"),
    "an original that is not": lambda make_plan: with_own_gate(make_plan(), "FAIL"),
}


class Recorder:
    """A performer that only looks, and remembers which steps it was asked for."""

    def __init__(self, home, planned):
        self.asked = []
        only_looking = LookupPerformer(home, planned)
        self.keep, self.look = only_looking.keep, only_looking.look

    def perform(self, task):
        self.asked.append(task.step.id)


def asked_when_only_looking(toy, plan):
    recorder = Recorder(toy.home, toy.planned(plan))
    worker = crash.in_process.InProcessWorker(toy.home, toy.folder)
    walk = Walk(
        plan, Results(toy.home, Store(toy.home), toy.folder), performer=recorder, tell=lambda *_, **__: None,
        declarations=Declarations(toy.home, toy.folder, worker.ask),
    )  # fmt: skip
    with contextlib.suppress(UnperformedError):
        walk_through(walk, toy.planned(plan), Replay())
    return recorder.asked


def run_one_step(toy, plan):
    """Execute a plan until a second step would start; return the first, "" where none did, and the record."""
    started = []

    def listen(event):
        if event["event"] == "started":
            if started:
                raise KeyboardInterrupt
            started.append(event["step"])

    record = None
    with contextlib.suppress(KeyboardInterrupt):
        record = crash.run_here(toy, plan, listen=listen)
    return (started or [""])[0], record


@pytest.mark.parametrize("name", PLANS)
def test_previews_the_way_that_executing_goes_from_an_empty_home_to_the_end(toy, make_plan, name):
    plan = PLANS[name](make_plan)
    ran, record = [], None
    while record is None or ran[-1]:
        asked, previews = asked_when_only_looking(toy, plan), toy.preview(plan)
        step, record = run_one_step(toy, plan)
        assert asked[:1] == ([step] if step else [])
        assert {previews.steps[done].symbol for done in ran} <= {"="}
        assert not step or previews.steps[step].symbol in "+~"
        assert (previews.answer is None) == bool(step)
        ran.append(step)
    assert len(ran) == len(set(ran))
    assert replace(previews.answer, seconds=0.0) == replace(record, seconds=0.0)
    assert {previews.steps[step.id].symbol for step in plan.steps if step.id not in ran} <= {"?", "="}


def test_asks_for_everything_that_can_be_known_without_running(toy, make_plan):
    plan = make_plan((1, 2))
    assert asked_when_only_looking(toy, plan) == ["load"]
    assert run_one_step(toy, plan)[0] == "load"
    assert asked_when_only_looking(toy, plan) == ["c1", "c2"]


def test_looks_candidates_up_where_the_original_is_still_to_be_judged(toy, ran, make_plan):
    plan = with_own_gate(make_plan((1,)), "PASS")
    record = ran(plan)
    shutil.rmtree(toy.home.results / next(step.key for step in record.steps if step.step == "original.contract"))
    symbols, _ = toy.previews(plan)
    assert (symbols["original.contract"], symbols["c1"], symbols["c1.tuning"]) == ("+", "=", "=")
    assert symbols["latency"] == "="


def test_releases_as_before_where_nothing_could_be_seen_inside(toy, ran, here, make_plan):
    plan = make_plan((1, 2))
    before, after = ran(plan), toy.run(with_looks(plan))
    assert (after.verdict, after.released, after.exit) == (before.verdict, before.released, before.exit)
    looked = {step.step: (step.status, step.error) for step in after.steps if step.step.rpartition(".")[2] == "look"}
    assert looked["original.look"] == ("finished", "")
    assert [looked[f"{name}.look"] for name in after.released] == [("failed", "there is nothing to see")]
    assert sum(status == "unused" for status, _ in looked.values()) == 1  # of the candidate that is not in the report


def test_changes_nothing_by_looking(toy, ran, make_plan):
    plan = make_plan((1,))
    ran(plan)
    before = {path: path.stat().st_mtime_ns for path in toy.home.path.rglob("*") if path.is_file()}
    toy.preview(replace(plan, name="another"))
    assert {path: path.stat().st_mtime_ns for path in toy.home.path.rglob("*") if path.is_file()} == before


def calls(file, names):
    """List the calls of methods by some names in a file, each with its line."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]
    return [
        f"{file.name}:{node.lineno}"
        for node in nodes
        if isinstance(node.func, ast.Attribute) and node.func.attr in names
    ]


def test_settles_steps_in_the_walk_alone():
    settling = {file.name for file in CORE if calls(file, {"settle", "settle_stage", "provide"})}
    assert settling <= {"stages.py", "search.py", "walk.py"}


def test_lets_nobody_fill_the_walk_but_itself():
    wrong = []
    for file in CORE:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            written = isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)
            if written and ast.unparse(node).startswith(("walk.", "self._walk.")):
                wrong.append(f"{file.name}:{node.lineno}: {ast.unparse(node)}")
    assert wrong == []


def arguments(node):
    """Count what a function or the constructor of a dataclass is given, but for the object itself; 0 for the rest."""
    if isinstance(node, ast.FunctionDef):
        names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        return len([name for name in names if name not in ("self", "cls")])
    if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        return len([each for each in node.body if isinstance(each, ast.AnnAssign)])
    return 0


def test_gives_nothing_more_arguments_than_six():
    wrong = [
        f"{file.name}:{node.lineno}: {node.name} takes {arguments(node)}"
        for file in CORE
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if arguments(node) > MOST_ARGUMENTS or (isinstance(node, ast.FunctionDef) and node.args.kwarg)
    ]
    assert wrong == []


@pytest.mark.usefixtures("here")
def test_asks_what_a_reduction_keeps_only_of_what_was_judged(toy, make_plan):
    """Also where several candidates share the network, so that the step belongs to none of them."""
    plan = make_plan((1, 2), verdicts={1: "FAIL"})
    asked = Step("cut.kept", "toys:look", 1, {"fails": False}, {"model": "c2.model"}, 7, "observe")
    candidates = tuple(
        replace(each, reduced=("cut.kept.seen",)) if each.id == "c2" else each for each in plan.candidates
    )
    record = toy.run(replace(plan, steps=(*plan.steps[:-1], asked, plan.steps[-1]), candidates=candidates))
    assert [candidate.status for candidate in record.candidates] == ["judged", "shortlisted"]
    assert {step.step: step.status for step in record.steps}["cut.kept"] == "unused"

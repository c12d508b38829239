"""What a lock or an older plan says, as values: a lock read as a run, decisions kept on the facts of today."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from titrant.api.lock import entry_of
from titrant.api.replan import decided, otherwise, with_facts
from titrant.api.rerun import as_run
from titrant.api.run import answers_lock
from titrant.compiler.bind.bind import bind
from titrant.compiler.compile import compile_plan
from titrant.runtime import catalog
from titrant.runtime.run.replay import Replay, recorded_choices
from titrant.schema.compare.runs import RecordedRun, compare_runs, first_cause
from titrant.schema.diagnostics.diagnostics import Diagnostic, StaleError
from titrant.schema.gate import GateResult, Judgement
from titrant.schema.language.parse import parse
from titrant.schema.lock import Lock, LockedStep, lock_text
from titrant.schema.plan import Decision
from titrant.schema.record import Artifact, CandidateRecord, RunRecord, StepRecord, StepResult

HERE = Path(__file__).parent
specification = importlib.util.spec_from_file_location("small", HERE.parent / "compiler" / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)


@pytest.fixture(scope="module")
def plan():
    parsed = parse(small.TABULAR, "x.yaml", folder=Path(), overrides=("quantization.method=ort.static",))
    return compile_plan(bind(parsed), small.HARDWARE, small.MODEL, small.JUDGED)


@pytest.fixture(scope="module")
def record(plan):
    """A run of the plan that released its last candidate and rejected the others."""
    steps = []
    for step in plan.steps:
        made = {port: Artifact("value", f"{step.id}.{port}".ljust(64, "0"), 8) for port in step_outputs(step)}
        key = f"key of {step.id}".ljust(64, "0")
        steps.append(StepRecord(step.id, "finished", key, StepResult(key, step.operator, made)))
    gate = GateResult("retention", "PASS", 0.99, None, None, 0.9, 0.9, 170, 2, None, "it holds", "a test")
    *others, last = (one.id for one in plan.candidates)
    judged = Judgement(last, "PASS", True, True, (gate,))
    candidates = [CandidateRecord(name, "rejected", "another is smaller", 900) for name in others]
    candidates.append(CandidateRecord(last, "released", "the best", 400, {"latency_p50": 0.001}, judged))
    return RunRecord("r", plan.name, "p", "PASS", 0, tuple(steps), tuple(candidates), (last,), len(steps), 0, 9.0)


def step_outputs(step):
    return catalog.get(step.operator).outputs


@pytest.fixture(scope="module")
def entry(plan, record):
    return entry_of(plan, record, 1)


def test_answers_from_an_earlier_run_that_is_what_a_lock_says(plan, record):
    planned, choices = SimpleNamespace(plan=plan), recorded_choices(plan, record)

    def refuse(_):
        raise StaleError(Diagnostic("P092", "not as the lock says"))

    assert answers_lock(record, Replay(choices=choices, accept=lambda _: None), planned)
    assert not answers_lock(record, Replay(choices=choices, accept=refuse), planned)
    assert not answers_lock(record, Replay(choices=dict.fromkeys(choices, ("other",))), planned)


def found(entry, plan, record):
    """What a lock and a run differ in, but for what no lock holds: the verdict, steps without exact bytes."""
    packages = {"packages": dict(entry.hardware.packages)}
    differences = compare_runs(as_run(entry, plan), RecordedRun(plan, record, packages), measures=lambda _: False)
    unlocked = {step.id for step in plan.steps} - set(entry.steps)
    return [one for one in differences if one.layer != "outcome" and one.path not in unlocked]


def test_reads_a_lock_as_the_run_that_it_was_written_of(entry, plan, record):
    locked = as_run(entry, plan)
    assert found(entry, plan, record) == []
    assert locked.record.released == record.released
    assert [one.status for one in locked.record.candidates] == [one.status for one in record.candidates]
    (judged,) = (one for one in locked.record.candidates if one.judgement is not None)
    assert [(one.gate, one.verdict, one.estimate) for one in judged.judgement.results] == [("retention", "PASS", 0.99)]
    assert (judged.size, dict(judged.figures)) == (400, {"latency_p50": 0.001})
    assert {one.step for one in locked.record.steps} == set(entry.steps)


def test_holds_no_path_of_the_machine_that_it_was_written_on(plan, record, tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "my home"))
    scratch = tmp_path / "my home" / "unfinished" / "worker-somewhere-12-abc"
    failed = [
        replace(candidate, because=f"cannot load {scratch}/model.onnx: /c2/Conv has no shape")
        for candidate in record.candidates
    ]
    text = lock_text(Lock("x", {"here": entry_of(plan, replace(record, candidates=tuple(failed)), 1)}), "x.yaml")
    assert "cannot load …/model.onnx: /c2/Conv has no shape" in text
    assert not any(part in text for part in (str(tmp_path), "my home", "worker-", "somewhere"))


def test_finds_a_digest_that_is_not_the_locked_one(entry, plan, record):
    fit = entry.steps["fit"]
    other = replace(entry, steps={**entry.steps, "fit": LockedStep(fit.key, {"model": "0" * 64})})
    cause = first_cause(tuple(found(other, plan, record)))
    assert (cause.layer, cause.path, cause.old) == ("outputs", "fit.model", "0" * 64)


@pytest.mark.parametrize(
    ("change", "layer"),
    [
        ({"recipe": "2" * 64}, "recipe"),
        ({"data": "2" * 64}, "inputs"),
        ({"decisions": {"level": "minimal"}}, "decisions"),
    ],
    ids=["recipe", "data", "decisions"],
)
def test_finds_what_was_locked_of_another_recipe_data_or_decision(entry, plan, record, change, layer):
    assert found(replace(entry, **change), plan, record)[0].layer == layer


def test_takes_the_machine_of_the_lock_where_it_tells_and_of_the_plan_elsewhere(entry, plan):
    hardware = replace(entry.hardware, instructions=("avx512f",), packages={"onnx": "9.9"})
    machine = as_run(replace(entry, hardware=hardware), plan).plan.hardware
    assert machine.instructions == ("avx512f",)
    assert machine.packages == {**plan.hardware.packages, "onnx": "9.9"}
    assert machine.cores == plan.hardware.cores


def decide(plan, **chosen):
    decisions = (Decision(subject, "auto", value, "", "x") for subject, value in chosen.items())
    return replace(plan, decisions=tuple(decisions))


def test_says_what_is_decided_otherwise_and_nothing_where_it_is_the_same(plan):
    old, new = decide(plan, level="balanced", threads="1"), decide(plan, level="minimal", device="cpu")
    assert otherwise(old, old) == ()
    assert otherwise(old, new) == (
        "level: minimal instead of balanced",
        "threads: nothing instead of 1",
        "device: cpu instead of nothing",
    )


def test_keeps_several_decisions_about_one_subject_in_a_row(plan):
    twice = replace(plan, decisions=(*decide(plan, level="a").decisions, *decide(plan, level="b").decisions))
    assert decided(twice) == {"level": "a; b"}
    assert otherwise(decide(plan, level="a"), twice) == ("level: a; b instead of a",)


def with_params(plan, name, **params):
    return replace(plan, steps=tuple(replace(one, params=params) if one.id == name else one for one in plan.steps))


def test_keeps_an_older_plan_on_the_facts_of_today(plan):
    def files(digest):
        return ({"at": {"path": "/b.csv", "digest": digest}},)

    old = with_params(plan, "load", csv={"path": "/a.csv", "digest": "1"}, more=files("1"), epochs=1)
    fresh = with_params(plan, "load", csv={"path": "/moved/a.csv", "digest": "2"}, more=files("2"), epochs=2)
    today = replace(fresh.hardware, cpu="another")
    fresh = replace(fresh, hardware=today, data_digest="new", steps=fresh.steps[:-1], decisions=())
    kept = with_facts(old, fresh)
    assert kept.steps[0].params == {"csv": {"path": "/moved/a.csv", "digest": "2"}, "more": [*files("2")], "epochs": 1}
    assert (kept.hardware, kept.data_digest, kept.decisions) == (today, "new", plan.decisions)
    assert kept.steps[1:] == old.steps[1:]


def test_leaves_files_as_they_were_where_the_newer_plan_names_none_there(plan):
    old = with_params(plan, "load", csv={"path": "/a.csv", "digest": "1"}, more=[1, 2])
    assert with_facts(old, with_params(plan, "load", npz="x", more=[3])).steps[0].params == old.steps[0].params

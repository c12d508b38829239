"""The verdict of a rerun, from two records alone."""

from dataclasses import replace

import pytest

from titrant.runtime.rerun.verdict import verdict
from titrant.schema.compare.runs import RecordedRun, compare_runs
from titrant.schema.gate import GateResult, Judgement
from titrant.schema.record import Artifact, CandidateRecord, RunRecord, StepRecord, StepResult

PORTS = {"load": ("model", "rows", "point"), "make": ("model",), "answer": ("outputs",), "measure": ("quality",),
         "clock": ("timings",), "judge": ("judgement",), "report": ("report",)}  # fmt: skip


def claims(operator):
    return {"toys:clock": "measured", "toys:answer": "tolerance"}.get(operator, "exact")


def digest(*words):
    return "".join(f"{ord(character):02x}" for character in "-".join(words))[:64].ljust(64, "0")


def record(plan, *, keys=None, outputs=None, latency=0.001, accuracy=0.98, timed="PASS"):
    """Record a run of a plan with other keys (by step) and other outputs (by "step.port") where they are given."""
    steps = []
    for step in plan.steps:
        key = digest("key", (keys or {}).get(step.id, step.id))
        made = {
            port: Artifact("value", digest("out", (outputs or {}).get(f"{step.id}.{port}", f"{step.id}.{port}")), 8)
            for port in PORTS[step.operator.partition(":")[2]]
        }
        steps.append(StepRecord(step.id, "finished", key, StepResult(key, step.operator, made)))
    nothing = (None,) * 4
    gates = (
        GateResult("retention", "PASS", accuracy, *nothing, 100, None, None, "", ""),
        GateResult("latency.p95", timed, latency, *nothing, 100, None, None, "", ""),
    )
    judged = Judgement("c1", "PASS", True, True, gates)
    candidate = CandidateRecord("c1", "released", "", 100, {"latency_p50": latency, "quality": 1.0}, judged)
    released = ("c1",) if timed == "PASS" else ()
    return RunRecord("r", "toy", "p", "PASS", 0, tuple(steps), (candidate,), released, 9, 0, 1.0)


ENVIRONMENT = {"packages": {"numpy": "2.3", "pytest": "8"}, "python": "3.11.7", "git_commit": "a"}


@pytest.fixture
def judge(make_plan):
    plan = make_plan(levels=(1,))
    old = RecordedRun(plan, record(plan), ENVIRONMENT)

    def call(*, new_plan=plan, environment=ENVIRONMENT, tampered=(), **given):
        new = RecordedRun(new_plan, record(new_plan, **given), environment)
        found = compare_runs(old, new, measures=lambda name: claims(name) == "measured")
        return verdict(old, new, found, claims, tampered=tampered)

    call.plan = plan
    return call


def test_calls_the_same_bytes_identical_whatever_was_measured(judge):
    found = judge(latency=0.01, outputs={"latency.timings": "other", "report.report": "other"})
    assert (found.verdict, found.cause) == ("identical", "")
    assert found.same == 8
    assert "c1: latency_p50 was 0.001 and is 0.01" in found.notes


def test_lets_no_timing_decide_even_where_it_undoes_the_release(judge):
    found = judge(timed="FAIL", outputs={"latency.timings": "other"})
    assert found.verdict == "identical"
    assert "c1: gate latency.p95 was PASS and is FAIL on fresh timings" in found.notes
    assert "released was c1 and would be nothing" in found.notes


def test_leaves_unexplained_what_differs_under_the_same_key(judge):
    found = judge(outputs={"c1.model": "other"})
    assert found.verdict == "unexplained"
    assert found.cause == "outputs: c1.model differs under the same key, and toys:make claims exact"


def test_names_the_first_step_that_parted_not_a_later_one(judge):
    found = judge(outputs={"load.rows": "other", "c1.model": "other"})
    assert "load.rows differs" in found.cause
    assert [f"{one.step.id}.{one.port}" for one in found.partings] == ["load.rows", "c1.model"]


def test_calls_other_bytes_of_another_library_equivalent_and_names_it(judge):
    packages = {**ENVIRONMENT["packages"], "numpy": "2.4", "pytest": "9"}
    found = judge(environment={**ENVIRONMENT, "packages": packages, "git_commit": "b"},
                  keys={"c1": "other"}, outputs={"c1.model": "other"})  # fmt: skip
    assert (found.verdict, found.cause) == ("equivalent", "environment: packages.numpy was 2.3 and is 2.4")


def test_calls_it_different_where_a_metric_left_its_tolerance(judge):
    packages = {**ENVIRONMENT["packages"], "numpy": "2.4"}
    found = judge(environment={**ENVIRONMENT, "packages": packages}, keys={"c1": "other"},
                  outputs={"c1.model": "other"}, accuracy=0.9)  # fmt: skip
    assert found.verdict == "different"
    assert "packages.numpy" in found.cause
    assert "c1: gate retention was 0.98 and is 0.9" in found.cause


def test_allows_a_declared_tolerance(judge):
    found = judge(outputs={"c1.tuning.outputs": "other"})
    assert (found.verdict, found.cause) == ("equivalent", "toys:answer is exact within a tolerance")


def test_puts_inputs_before_the_environment(judge):
    packages = {**ENVIRONMENT["packages"], "numpy": "2.4"}
    environment = {**ENVIRONMENT, "packages": packages}
    found = judge(new_plan=replace(judge.plan, model_digest="n" * 64), environment=environment,
                  keys={"load": "other"}, outputs={"load.model": "other"})  # fmt: skip
    assert found.verdict == "different"
    assert found.cause.startswith("inputs: model")


def test_says_what_is_new_in_a_step_of_titrants_own(judge):
    steps = tuple(replace(step, version=2) if step.id == "c1" else step for step in judge.plan.steps)
    found = judge(new_plan=replace(judge.plan, steps=steps), keys={"c1": "other"}, outputs={"c1.model": "other"})
    assert (found.verdict, found.cause) == ("equivalent", "keys: c1: its version changed")


def test_calls_a_run_different_whose_files_were_changed_afterwards(judge):
    found = judge(tampered=["model.onnx"])
    assert found.verdict == "different"
    assert "model.onnx" in found.cause

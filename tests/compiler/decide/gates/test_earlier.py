"""Rows beside earlier releases: not assessable on other hardware, and refused where they say nothing."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.compile import compile_plan
from titrant.compiler.decide.decide import decide
from titrant.compiler.decide.rule import EarlierModel, LoadStep
from titrant.schema.contract.earlier import EarlierRelease
from titrant.schema.diagnostics.diagnostics import RecipeError

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[2] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

HERE = case.AVX2.identity
RELEASE = EarlierRelease("r1", "/runs/r1/model.onnx", "onnxruntime", 900, HERE.machine, HERE.cpu, HERE.instructions)
LOAD = LoadStep("model.load_onnx", {"onnx": {"path": "/runs/r1/model.onnx", "digest": "aa"}}, case.MODEL)
LIMITS = (
    "validation.regression={against: r1, latency_p50: 1.1, latency_p95: 1.2, size: 1, peak_memory: 1.5, metric: .99}"
)


def earlier(release=RELEASE, *names):
    return {name: EarlierModel(release, LOAD) for name in names or ("regression",)}


def gates(*changes, releases):
    decisions = decide(case.bound(case.RECIPE, *changes), case.AVX2, case.MODEL, case.DATA, earlier=releases)
    return {gate.id: gate for gate in decisions.settled.contract.gates}, decisions


def test_writes_a_row_for_each_ratio():
    rows, decisions = gates(LIMITS, releases=earlier())
    assert {
        name: (row.metric, row.comparison, row.threshold, row.test)
        for name, row in rows.items()
        if row.preset == "regression"
    } == {
        "regression.latency_p50": ("latency_p50", "ratio_at_most", 1.1, "paired_median"),
        "regression.latency_p95": ("latency_p95", "ratio_at_most", 1.2, "percentile_ratio"),
        "regression.peak_memory": ("peak_memory", "ratio_at_most", 1.5, "peak_ratio"),
        "regression.size": ("size", "ratio_at_most", 1.0, "size_ratio"),
        "regression.metric": ("accuracy", "retention", 0.99, "score_ratio"),
    }
    assert rows["regression.metric"].needed_cases
    (line,) = [line for line in decisions.decisions if line.subject == "validation.regression.against"]
    assert (line.asked, line.chosen) == ("r1", "r1")


@pytest.mark.parametrize(
    ("other", "open_rows"),
    [
        ({"instructions": ("avx2", "avx512_vnni")}, {"latency_p50", "latency_p95", "peak_memory", "metric"}),
        ({"machine": "aarch64"}, {"latency_p50", "latency_p95", "peak_memory", "metric"}),
        ({"processor": "another"}, {"latency_p50", "latency_p95", "peak_memory"}),
        ({}, set()),
    ],
)
def test_cannot_assess_on_other_hardware_what_depends_on_it(other, open_rows):
    rows, _ = gates(LIMITS, releases=earlier(replace(RELEASE, **other)))
    not_assessable = {name.partition(".")[2] for name, row in rows.items() if row.test == "not_assessable"}
    assert not_assessable == open_rows
    assert all("r1 was judged on" in rows[f"regression.{name}"].assumption for name in open_rows)


def test_asks_of_the_anchor_what_retention_asks_of_the_original():
    rows, _ = gates("validation.anchor=r1", "validation.retention=0.97", releases=earlier(RELEASE, "anchor"))
    assert (rows["anchor"].metric, rows["anchor"].comparison, rows["anchor"].threshold) == (
        "accuracy",
        "retention",
        0.97,
    )


def test_times_the_release_in_the_turns_of_what_judges_and_answers_the_same_rows():
    bound = case.bound(case.RECIPE, LIMITS, "quantization.method=none", "export=[{format: onnx}]")
    plan = compile_plan(bound, case.AVX2, case.MODEL, case.DATA, files={}, earlier=earlier())
    steps = {step.id: step for step in plan.steps}
    judging = next(step for name, step in steps.items() if name.endswith(".contract") and step.candidate)
    timing = steps[judging.inputs["timings"].rpartition(".")[0]]
    assert timing.inputs["models"]["regression"] == "earlier.regression.model"
    assert timing.params["engines"]["regression"] == "onnxruntime"
    assert timing.params["blocks"] > 63  # as two bounds need that fail half as often each
    assert timing.params["memory_runs"] == 6
    assert judging.inputs["earlier"] == {"regression": "earlier.regression.evaluation.outputs"}
    assert judging.params["stored_bytes"] == 900
    assert steps["earlier.regression.evaluation"].inputs["rows"] == "transform.evaluation"
    assert "regression" not in steps["latency"].inputs["models"]  # what chooses knows nothing of it


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (("validation.regression={against: previous}",), "R227"),
        (("validation.anchor=first", "validation.retention=none"), "R228"),
        (
            ("validation.regression={latency_p50: 1.1}", "target.latency={batch: 8, scenario: offline}"),
            "R225",
        ),
    ],
)
def test_refuses_what_compares_nothing(changes, code):
    with pytest.raises(RecipeError) as caught:
        case.bound(case.RECIPE, *changes)
    assert [each.code for each in caught.value.diagnostics] == [code]

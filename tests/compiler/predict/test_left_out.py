"""A plan makes what may win: which candidates those are follows from facts that stay, and the plan says why."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.compile import compile_plan
from titrant.schema.facts import Bench
from titrant.schema.plan import identity, plan_digest

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

NATIVE = case.machine("avx2", "avx512f", "avx512_vnni", "avx512_bf16")


def planned(*changes, hardware=case.VNNI, model=case.MODEL):
    changes = ("level=balanced", "quantization.method=auto", *changes)
    return compile_plan(case.bound(case.RECIPE, *changes), hardware, model, case.DATA)


def methods(plan):
    return [candidate.id for candidate in plan.candidates if candidate.method != "none"]


def line(plan, subject):
    return next((decision for decision in plan.decisions if decision.subject == subject), None)


def rejected(plan, subject):
    return {item.value: item.because for item in line(plan, subject).rejected}


def test_leaves_out_what_a_faster_engine_s_plain_conversion_beats_beyond_doubt():
    plan = planned()
    assert "torch.dynamic" not in methods(plan)
    assert rejected(plan, "quantization.method")["torch.dynamic"].endswith("times as long as onnx-fp32")
    assert {"torchscript-fp32", "onnx-fp32"} <= {candidate.id for candidate in plan.candidates}
    # A file for torch alone is compared with torch's plain conversion, which is no faster.
    assert "torch.dynamic" in methods(planned("export=[{format: torchscript}]"))
    assert "torch.dynamic" in methods(planned("export=[{format: torchscript}, {format: onnx}]"))
    assert "torch.dynamic" in methods(planned("search.objective=[size]"))
    assert "torch.dynamic" in methods(planned("target.peak_memory=100 MiB"))


def test_chooses_the_same_candidates_however_fast_the_machine_was_measured_to_be():
    # On a slow processor the arithmetic decides, on a fast one what a call costs.
    model = replace(case.MODEL, layers=tuple(replace(layer, flops=10**6) for layer in case.MODEL.layers))
    slow, fast = (
        planned(hardware=replace(case.VNNI, bench=Bench(speed, 4 * speed, speed / 10)), model=model)
        for speed in (1e7, 500e9)
    )
    assert plan_digest(slow) == plan_digest(fast) == plan_digest(planned(model=model))


def test_makes_as_many_as_the_budget_allows_beside_plain_conversions_and_says_what_it_cut():
    plan = planned("search.budget.evaluations=1")
    assert len(methods(plan)) == 1
    assert {"torchscript-fp32", "onnx-fp32"} <= {candidate.id for candidate in plan.candidates}
    budget = line(plan, "search.budget")
    assert (budget.asked, budget.rule) == ("1 evaluation", "budget.written")
    cut = rejected(plan, "search.budget")
    assert set(cut.values()) == {"1 other of methods come first"}
    assert not {*cut} & {*methods(plan)}
    assert line(planned(), "search.budget") is None


def test_carries_the_minutes_of_the_search_and_no_trace_of_none():
    assert planned("search.budget.minutes=3").search_minutes == 3
    assert "search_minutes" in identity(planned("search.budget.minutes=3"))
    assert "search_minutes" not in identity(planned())


def test_leaves_out_no_method_that_the_recipe_names():
    assert methods(planned("quantization.method=torch.dynamic", "search.budget.minutes=0.001")) == ["torch.dynamic"]


@pytest.mark.parametrize(
    ("hardware", "changes", "considered"),
    [(NATIVE, (), True), (case.VNNI, (), False), (case.AVX2, ("target.size=1 MiB",), False)],
)
def test_considers_16_bits_where_the_processor_computes_in_them(hardware, changes, considered):
    plan = planned("export=[{format: torchscript}]", *changes, hardware=hardware)
    assert ("cast" in methods(plan)) == considered
    if not considered and not changes:
        assert "computes in none of the 16-bit formats" in rejected(plan, "quantization.method")["cast"]

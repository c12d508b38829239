"""Predictions: what formulas give from facts, and how what steps cost here before replaces or corrects it."""

import importlib.util
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.compiler.bind.bind import bind
from titrant.compiler.compile import compile_plan
from titrant.compiler.predict.learned import NO_HISTORY, History
from titrant.schema.cost import Observation
from titrant.schema.facts import Bench, Column, Layer, RoleFacts
from titrant.schema.language.parse import parse
from titrant.schema.plan import BASES, FIGURES, identity, plan_digest
from titrant.schema.values.canonical import canonical_json

specification = importlib.util.spec_from_file_location("small_recipes", Path(__file__).parents[1] / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)

BENCHED = replace(small.HARDWARE, bench=Bench(50e9, 100e9, 10e9, 500e6, 1e9, 3.0))
LAYERS = tuple(
    Layer(name, "Linear", wide * narrow + narrow, 4 * (wide * narrow + narrow), (narrow, wide), 2 * wide * narrow)
    for name, wide, narrow in (("a", 30, 128), ("b", 128, 64), ("c", 64, 2))
)
MODEL = replace(
    small.MODEL, layers=LAYERS, flops=sum(layer.flops for layer in LAYERS), activation_bytes=1024,
    parameters=sum(layer.parameters for layer in LAYERS), weight_bytes=sum(layer.weight_bytes for layer in LAYERS),
)  # fmt: skip


def data(rows=1000):
    """Facts of a table of so many rows, split as the recipe says."""
    shares = {"train": 0.5, "tuning": 0.1, "calibration": 0.1, "evaluation": 0.3}
    roles = {
        role: RoleFacts(int(rows * share), int(rows * share), {"malignant": int(rows * share) // 2, "benign": rows})
        for role, share in shares.items()
    }
    columns = (*(Column(name, "float64") for name in ("mean radius", "mean texture")), Column("target", "int64"))
    return replace(small.DATA, rows=rows, roles=roles, columns=columns)


def compiled(*overrides, rows=1000, **others):
    """Plan the recipe; what only rows and overrides tell from another plan is planned once."""
    return planned(*overrides, rows=rows, **others) if others else planned_once(*overrides, rows=rows)


def planned(*overrides, hardware=BENCHED, rows=1000, history=NO_HISTORY, model=MODEL):
    bound = bind(parse(small.TABULAR, "x.yaml", folder=Path(), overrides=overrides))
    return compile_plan(bound, hardware, model, data(rows), history=history)


planned_once = cache(planned)


def costs(plan):
    return {step.id: step.prediction for step in plan.steps}


def observed(plan, factor=3.0, peak=40 << 20):
    """What every step of a plan would have cost if the formulas were off by a factor."""
    return [
        Observation(
            step.operator, step.prediction.shape, (step.prediction.formula_seconds or 0.1) * factor, peak, 777,
            step.prediction.formula_seconds, step.prediction.formula_peak_bytes,
            models={name: 3 * seconds for name, seconds in step.prediction.formula_models.items()},
            formula_models=step.prediction.formula_models,
        )
        for step in plan.steps
    ]  # fmt: skip


def test_predicts_every_figure_of_every_step_with_a_basis():
    for step in compiled().steps:
        for name in FIGURES:
            value = getattr(step.prediction, name)
            assert value is not None, (step.id, name)
            assert math.isfinite(value)
            assert value >= 0
            assert step.prediction.basis_of(name) in BASES
        assert len(step.prediction.shape) == 16


def test_counts_what_follows_from_the_facts_alone():
    made = costs(compiled())
    assert made["split"].basis_of("output_bytes") == "counted"
    assert made["baseline.tuning"].basis_of("output_bytes") == "counted"
    assert made["baseline.tuning"].basis_of("seconds") == "modelled"


def test_guesses_times_where_no_bench_was_run():
    assert {made.basis_of("seconds") for made in costs(compiled(hardware=small.HARDWARE)).values()} == {"guess"}


@settings(max_examples=4, deadline=None)
@given(st.integers(200, 5000), st.integers(2, 20))
def test_never_expects_more_work_to_cost_less(rows, times):
    few, many = costs(compiled(rows=rows)), costs(compiled(rows=rows * times))
    short, long = costs(compiled("train.epochs=10")), costs(compiled(f"train.epochs={10 * times}"))
    for step in few:
        assert few[step].seconds <= many[step].seconds
        assert few[step].output_bytes <= many[step].output_bytes
        assert short[step].seconds <= long[step].seconds


def test_expects_a_faster_machine_to_take_less_time():
    faster = replace(BENCHED, bench=replace(BENCHED.bench, fp32_flops_per_second=500e9))
    slow, fast = costs(compiled(rows=100_000)), costs(compiled(rows=100_000, hardware=faster))
    assert fast["fit"].seconds < slow["fit"].seconds


def test_predicts_latency_and_memory_of_every_candidate():
    plan = compiled()
    models = costs(plan)["latency"].models
    assert {"original", *(candidate.id for candidate in plan.candidates)} == set(models)
    for cost in models.values():
        assert set(cost.seconds) == {"1", "8", "32"}
        assert 0 < cost.seconds["1"] <= cost.seconds["32"]
        assert cost.peak_bytes > 0
    assert all(candidate.predicted_bytes > 0 for candidate in plan.candidates)


def test_says_what_was_measured_once_a_step_of_the_same_shape_has_run():
    first = compiled()
    again = compiled(history=History(observed(first)))
    fit, was = costs(again)["fit"], costs(first)["fit"]
    assert fit.seconds == pytest.approx(3 * was.formula_seconds)
    assert fit.peak_bytes == 40 << 20
    assert fit.basis_of("seconds") == fit.basis_of("peak_bytes") == "measured"
    assert fit.learned_from
    assert costs(again)["latency"].models["original"].basis == "measured"
    # What is counted stays counted.
    assert costs(again)["split"].output_bytes == costs(first)["split"].output_bytes


def test_takes_the_median_of_the_latest_of_a_shape():
    first = compiled()
    seconds = [100.0, 1.0, 2.0, 50.0, 3.0, 2.5]
    seen = [replace(one, seconds=value) for value in seconds for one in observed(first) if one.operator == "train.fit"]
    assert costs(compiled(history=History(seen)))["fit"].seconds == 2.5


def test_corrects_the_formula_for_other_amounts_of_the_same_work():
    history = History(observed(compiled(rows=20_000)))
    plain, better = costs(compiled(rows=80_000)), costs(compiled(rows=80_000, history=history))
    assert better["fit"].seconds == pytest.approx(3 * plain["fit"].seconds)
    assert better["fit"].basis_of("seconds") == "modelled"
    assert better["latency"].models["original"].seconds["1"] == pytest.approx(
        3 * plain["latency"].models["original"].seconds["1"]
    )


def test_knows_the_same_work_under_another_learning_rate_and_not_under_more_epochs():
    history = History(observed(compiled()))
    assert costs(compiled("train.learning_rate=0.5", history=history))["fit"].basis_of("seconds") == "measured"
    assert costs(compiled("train.epochs=99", history=history))["fit"].basis_of("seconds") == "modelled"


def test_learns_what_loading_a_library_takes():
    seen = [replace(one, loads={"torch": 7.0}) for one in observed(compiled())]
    assert costs(compiled(history=History(seen)))["model"].loads["torch"] == 7.0


def test_leaves_the_identity_of_a_plan_alone_whatever_was_learned():
    first = compiled()
    learned = compiled(history=History(observed(first)))
    elsewhere = compiled(hardware=small.HARDWARE)
    assert learned != first
    assert plan_digest(learned) == plan_digest(first) == plan_digest(elsewhere)
    assert "measured" not in canonical_json(identity(learned))


@settings(max_examples=4, deadline=None)
@given(st.floats(1e-6, 1e6), st.integers(0, 2**45))
def test_stays_finite_whatever_was_observed(factor, peak):
    history = History(observed(compiled(rows=3000), factor, peak))
    for made in costs(compiled(history=history)).values():
        assert math.isfinite(made.seconds)
        assert made.seconds >= 0
        assert made.peak_bytes >= 0


def test_calls_the_least_that_a_model_takes_a_guess_where_its_products_are_not_known():
    found = costs(compiled(model=replace(MODEL, flops=None)))
    known = costs(compiled())
    for step in ("baseline.tuning", "onnx-fp32", "latency"):
        assert found[step].seconds == known[step].seconds > 0
        assert (found[step].basis_of("seconds"), known[step].basis_of("seconds")) == ("guess", "modelled")
    assert {cost.basis for cost in found["latency"].models.values()} == {"guess"}
    learned = costs(compiled(model=replace(MODEL, flops=None), history=History(tuple(observed(compiled())))))
    assert learned["onnx-fp32"].basis_of("seconds") == "guess"

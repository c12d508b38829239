"""What conversion, engine and precision gave: a product from file to file, whatever engines and files there are."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.schema.gain import Gain
from titrant.schema.gain_parts import (
    GainPart,
    GainParts,
    Halfway,
    fastest,
    fastest_words,
    fp32_files,
    gain_parts,
    halfway,
    is_reduced,
    predicted_parts,
    product_words,
    whole_words,
)
from titrant.schema.plan import Candidate, CandidateSearch, ModelCost, Prediction, Step

spec = importlib.util.spec_from_file_location(
    "plans_for_parts", Path(__file__).parents[1] / "runtime" / "report" / "report_plans.py"
)
plans = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plans)


def candidate(name, method="int8", engine="fast", plain="onnx-fp32"):
    return Candidate(name, method, engine, "onnx", 1, "", "", "", "", plain=plain)


FILES = {"original": "torch", "script-fp32": "torch", "onnx-fp32": "fast", "other-fp32": "other"}
SECONDS = {"original": 12.0, "script-fp32": 8.0, "onnx-fp32": 4.0, "other-fp32": 5.0, "int8": 1.0}
BYTES = {"original": 400, "script-fp32": 410, "onnx-fp32": 420, "other-fp32": 430, "int8": 105}


def told(one, seconds=SECONDS, files=FILES, between=None, reduced=False):
    def speed(before, after):
        return Gain("latency", True, before, before, False, seconds[before] / seconds[after], "better")

    return gain_parts(one, files, seconds.get, BYTES.get, speed=speed, between=between, reduced=reduced)


def way(parts):
    return [(part.part, part.before, part.after, part.speed.factor) for part in parts.parts]


def test_parts_a_gain_into_conversion_engine_and_precision():
    parts = told(candidate("int8"))
    assert way(parts) == [
        ("conversion", "original", "script-fp32", 1.5),
        ("engine", "script-fp32", "onnx-fp32", 2.0),
        ("precision", "onnx-fp32", "int8", 4.0),
    ]
    assert parts.whole.speed.factor == 12.0
    assert product_words(parts) == "12.0× = 1.50× conversion × 2.0× engine × 4.0× precision"
    assert [part.size for part in parts.parts] == [400 / 410, 410 / 420, 4.0]
    assert parts.over_fastest is None  # the last part is over the fastest fp32 file already
    assert fastest_words(parts) == ""


def test_compares_with_the_fastest_fp32_file_where_another_engine_has_it():
    parts = told(candidate("int8"), SECONDS | {"other-fp32": 2.0})
    assert (parts.over_fastest.before, parts.over_fastest.speed.factor) == ("other-fp32", 2.0)
    assert fastest_words(parts) == "against other-fp32, the fastest fp32 file: 2.0× faster"


def test_says_how_a_candidate_fares_that_the_fastest_fp32_file_beats():
    """A gain over the original that another engine's fp32 file has for nothing."""
    parts = told(candidate("int8"), SECONDS | {"other-fp32": 0.5})
    slower = replace(parts.over_fastest, speed=replace(parts.over_fastest.speed, verdict="worse"))
    assert fastest_words(replace(parts, over_fastest=slower)).endswith("2.0× slower")


WAYS = {
    "an original that is fastest as it is": (
        candidate("int8"),
        SECONDS | {"script-fp32": 13.0},
        [("engine", "original", "onnx-fp32", 3.0), ("precision", "onnx-fp32", "int8", 4.0)],
    ),
    "another precision in the original's engine": (
        candidate("int8", engine="torch", plain="script-fp32"),
        SECONDS,
        [("conversion", "original", "script-fp32", 1.5), ("precision", "script-fp32", "int8", 8.0)],
    ),
    "a plain conversion in another engine": (
        candidate("onnx-fp32", method="none", plain=""),
        SECONDS,
        [("conversion", "original", "script-fp32", 1.5), ("engine", "script-fp32", "onnx-fp32", 2.0)],
    ),
    "a plain conversion in the original's engine": (
        candidate("script-fp32", method="none", engine="torch", plain=""),
        SECONDS,
        [("conversion", "original", "script-fp32", 1.5)],
    ),
    "a smaller network": (
        candidate("int8", method="none"),
        SECONDS,
        [
            ("conversion", "original", "script-fp32", 1.5),
            ("engine", "script-fp32", "onnx-fp32", 2.0),
            ("reduction", "onnx-fp32", "int8", 4.0),
        ],
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_goes_from_file_to_file(name):
    one, seconds, expected = WAYS[name]
    assert way(told(one, seconds)) == expected


def test_tells_nothing_apart_where_an_engine_has_no_fp32_file():
    assert told(candidate("int8", engine="lonely")) is None
    assert told(candidate("int8"), {"int8": 1.0}) is None
    assert told(candidate("original", method="none", engine="torch", plain="")) is None


@given(
    st.lists(st.floats(1e-6, 1e3), min_size=5, max_size=5),
    st.sampled_from(["torch", "fast", "other"]),
    st.sets(st.sampled_from(["script-fp32", "onnx-fp32", "other-fp32"])),
)
def test_multiplies_to_the_whole_whatever_was_timed(times, engine, left_out):
    seconds = {name: took for name, took in zip(SECONDS, times, strict=True) if name not in left_out}
    files = {name: runs_in for name, runs_in in FILES.items() if name not in left_out}
    parts = told(candidate("int8", engine=engine), seconds, files)
    if parts is None:
        assert engine not in files.values()
        return
    product, bytes_product = 1.0, 1.0
    for part in parts.parts:
        product, bytes_product = product * part.speed.factor, bytes_product * part.size
    assert product == pytest.approx(parts.whole.speed.factor)
    assert bytes_product == pytest.approx(parts.whole.size)
    assert parts.parts[0].before == "original"
    assert parts.parts[-1].after == "int8"
    assert all(part.before != part.after for part in parts.parts)
    assert parts.over_fastest is None or parts.over_fastest.before == fastest(files, seconds.get)


def test_predicts_the_parts_of_a_plan_with_their_basis():
    plan = plans.whole_plan(("onnx", "ort-static"))
    names = {"original": "torch", "onnx": "onnxruntime", "ort-static": "onnxruntime", "script-fp32": "torch"}
    costs = {name: ModelCost({"1": SECONDS.get(name, 2.0)}, None, "modelled") for name in names}
    models = {**{name: f"{name}.model" for name in names}, "original": plan.original}
    timing = Step(
        "latency", "profile.latency", 1, {"engines": names}, {"models": models}, 7, "measure",
        prediction=Prediction(models=costs),
    )  # fmt: skip
    plan = replace(plan, steps=tuple(timing if step.id == "latency" else step for step in plan.steps))
    plan = replace(
        plan, candidates=tuple(replace(one, plain="onnx" if one.method != "none" else "") for one in plan.candidates)
    )
    assert set(fp32_files(plan, plan.searches[0])) == {"original", "onnx", "script-fp32"}
    parts = predicted_parts(plan, plan.candidates[1])
    assert parts.basis == "modelled"
    assert product_words(parts) == "6.0× = 1.50× conversion × 4.0× engine × 1.00× precision"
    assert isinstance(parts.whole, GainPart)
    unknown = replace(plan, searches=(CandidateSearch("auto", "x", ("onnx",), ("latency",), 4, "nobody.timings"),))
    assert predicted_parts(unknown, plan.candidates[0]) is None


@pytest.mark.parametrize(
    ("factor", "verdict", "parts", "said"),
    [
        (4.1, "better", ["precision"], "faster than the original 4.1×, all by precision"),
        (1.04, "alike", ["precision"], "no faster than the original (1.04×, 0.99–1.09)"),
        (1.04, "alike", ["engine", "precision"],
         "no faster than the original (1.04×, 0.99–1.09): 1.04× = 1.04× engine × 1.04× precision"),
        (1.04, "unknown", ["precision"],
         "the runs vary too much to tell whether it is faster than the original (0.99–1.09×)"),
        (0.5, "worse", ["precision"], "2.0× slower than the original (1.9–2.1)"),
    ],
)  # fmt: skip
def test_calls_nothing_faster_that_the_runs_do_not_show_to_be(factor, verdict, parts, said):
    spread = 0.95 if verdict != "better" else 0.9
    speed = Gain("latency", True, "original", "original", True, factor, verdict, factor * spread, factor / spread)
    whole = GainPart("", "original", "given", "torch", speed)
    assert whole_words(GainParts(tuple(replace(whole, part=part) for part in parts), whole)) == said


def test_tells_what_a_reduction_gave_from_what_fewer_bits_did():
    smaller = replace(candidate("smaller+int8"), grows="int8")
    smallest = replace(candidate("smallest+int8"), grows="smaller+int8")
    plan = replace(plans.whole_plan(), candidates=(candidate("int8"), smaller, smallest))
    assert halfway(plan, candidate("int8")) is None
    assert halfway(plan, smallest) == Halfway("int8", "precision")
    parts = told(smallest, SECONDS | {"smallest+int8": 0.5}, between=halfway(plan, smallest))
    assert way(parts)[-2:] == [
        ("precision", "onnx-fp32", "int8", 4.0),
        ("reduction", "int8", "smallest+int8", 2.0),
    ]


def test_goes_over_the_reduced_network_in_fp32_where_all_candidates_are_reduced():
    reduced = candidate("smaller+onnx-fp32", method="none")
    both = candidate("smaller+int8")
    plan = replace(plans.whole_plan(), candidates=(candidate("other+onnx-fp32", method="none"), reduced, both))
    assert halfway(plan, reduced) is None
    assert halfway(plan, both) == Halfway("smaller+onnx-fp32", "reduction")
    seconds = SECONDS | {"smaller+onnx-fp32": 2.0, "smaller+int8": 0.5}
    assert way(told(both, seconds, between=halfway(plan, both)))[-2:] == [
        ("reduction", "onnx-fp32", "smaller+onnx-fp32", 2.0),
        ("precision", "smaller+onnx-fp32", "smaller+int8", 4.0),
    ]


def test_calls_no_reduction_precision_where_nothing_was_timed_between_them():
    """A named pruning and a named method: of the pruned network in fp32 there is no file."""
    parts = told(candidate("int8"), reduced=True)
    assert way(parts)[-1] == ("reduction and precision", "onnx-fp32", "int8", 4.0)
    assert product_words(parts) == "12.0× = 1.50× conversion × 2.0× engine × 4.0× reduction and precision"
    unmade = told(candidate("smaller+int8"), SECONDS | {"smaller+int8": 2.0},
                  between=Halfway("smaller+onnx-fp32", "reduction"), reduced=True)  # fmt: skip
    assert way(unmade)[-1] == ("reduction and precision", "onnx-fp32", "smaller+int8", 2.0)
    assert way(told(candidate("int8", method="none"), reduced=True))[-1][0] == "reduction"


def test_knows_a_reduced_candidate_by_the_steps_that_make_it():
    plan = plans.whole_plan(("ort-static",))
    made = next(step for step in plan.steps if step.id == plan.candidates[0].model.rpartition(".")[0])
    cut = Step("cut", "prune.blocks", 1, {}, {"model": plan.original}, 7, "make")
    after = replace(made, inputs={**made.inputs, "model": "cut.model"})
    steps = tuple(after if step.id == made.id else step for step in plan.steps)
    assert not is_reduced(plan, plan.candidates[0])
    assert is_reduced(replace(plan, steps=(*steps, cut)), plan.candidates[0])


@pytest.mark.parametrize("plain", ["script-fp32", "original"])
def test_compares_another_layout_with_its_own_format(plain):
    one = replace(candidate("script-last", "none", "torch", plain), layout="channels_last")
    parts = told(one, {**SECONDS, "script-last": 5.0})
    converted = [("conversion", "original", "script-fp32", 1.5)] * (plain != "original")
    assert way(parts) == [*converted, ("layout", plain, "script-last", SECONDS[plain] / 5)]
    assert product_words(parts) in ("2.4× = 1.50× conversion × 1.60× layout", "2.4×, all by layout")
    cast = replace(one, id="int8", method="cast")
    assert way(told(cast))[-1] == ("precision and layout", "script-fp32", "int8", 8.0)

"""A ladder: each rung has its own candidates, its own search and its own file."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.compiler.bind.check_model import method_of
from titrant.compiler.decide.ladder import ladder as rungs_of
from titrant.compiler.decide.rule import Chain, Question, Rung
from titrant.compiler.lower.chains import entries
from titrant.compiler.lower.lower import lower
from titrant.compiler.lower.verify import problems
from titrant.compiler.passes import passes
from titrant.runtime import catalog
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.plan import identity

HERE = Path(__file__).parents[1]


def module(name):
    specification = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


case, small = module("case"), module("small_recipes")


def ladder(*rungs, changes=()):
    bound = case.bound(case.RECIPE, "level=balanced", f"quantization.adapt=[{', '.join(rungs)}]", *changes)
    return case.decide(bound, case.AVX2, case.MODEL, case.DATA)


def test_lets_the_forms_of_a_method_compete_for_its_rung():
    settled = ladder("ort.nbits", "none").settled
    rungs = {rung.name: rung.chains for rung in settled.ladder}
    # 4 bits are below the level; auto would not make them.
    assert [name for name in rungs["ort.nbits"] if "4bit" in name] == []
    assert "ort.nbits-8bit" in rungs["ort.nbits"]
    assert set(rungs["none"]) == {chain.id for chain in settled.chains if chain.method == "none"} >= {"onnx-fp32"}
    assert {name for names in rungs.values() for name in names} == {chain.id for chain in settled.chains}


def test_makes_what_a_rung_names_though_auto_would_leave_it_out():
    settled = ladder("ort.nbits-4bit", "ort.static").settled
    four, static = settled.ladder
    chains = {chain.id: chain for chain in settled.chains}
    assert {chains[name].mends or name for name in four.chains} == {"ort.nbits-4bit"}
    assert {chains[name].mends or name for name in static.chains} == {"ort.static"}
    assert {*four.chains, *static.chains} == {*chains}


def test_says_the_rungs_with_their_candidates():
    (line,) = (line for line in ladder("none", "ort.static").decisions if line.subject == "quantization.adapt")
    assert line.asked == "none, ort.static"
    assert line.chosen.startswith("none: ")
    assert "; ort.static: " in line.chosen


@pytest.mark.parametrize(
    ("rung", "changes", "reason"),
    [
        ("ort.nbits-4bit", ("preserve=medical",), "preserve medical allows no fewer than 8"),
        ("openvino.ptq", ("target.engine=onnxruntime",), "target.engine is onnxruntime"),
        ("ort.static-2bit", (), "what can be made of that method: ort.static"),
    ],
)
def test_refuses_a_rung_that_cannot_be_made_with_what_speaks_against_it(rung, changes, reason):
    with pytest.raises(InfeasibleError, match="P140") as caught:
        ladder("none", rung, changes=changes)
    (diagnostic,) = caught.value.diagnostics
    assert reason in diagnostic.help
    assert diagnostic.message == f"the rung {rung} cannot be made here"


def test_settles_no_ladder_where_none_is_asked_for():
    bound = case.bound(case.RECIPE, "level=balanced")
    decisions = case.decide(bound, case.AVX2, case.MODEL, case.DATA)
    assert decisions.settled.ladder == ()
    assert not [line for line in decisions.decisions if line.subject == "quantization.adapt"]


def test_counts_what_mends_a_candidate_to_its_rung():
    bound = case.bound(case.RECIPE, "level=balanced", "quantization.adapt=[ort.static, ort.nbits-8bit]")
    question = Question(bound, case.AVX2, case.MODEL, case.DATA)
    chains = (
        Chain("ort.static.mix1", "ort.static", 8, "onnxruntime", "onnx", 0, mends="ort.static"),
        Chain("ort.static", "ort.static", 8, "onnxruntime", "onnx", 1),
        Chain("ort.nbits-8bit.rounded", "ort.nbits", 8, "onnxruntime", "onnx", 2, mends="ort.nbits-8bit"),
        Chain("ort.nbits-8bit", "ort.nbits", 8, "onnxruntime", "onnx", 3),
    )
    settled = replace(question.settled, chains=chains)
    assert [rung.chains for rung in rungs_of(replace(question, settled=settled)).value] == [
        ("ort.static.mix1", "ort.static"), ("ort.nbits-8bit.rounded", "ort.nbits-8bit"),
    ]  # fmt: skip


RUNGS = (Rung("none", ("onnx",)), Rung("ort.static", ("onnx.ort.static",)), Rung("ort.dynamic", ("onnx.ort.dynamic",)))


def lowered(folder, rungs=RUNGS, chains=(small.PLAIN, small.DYNAMIC, small.STATIC)):
    decisions = small.decisions(*chains, training={"epochs": 2})
    decisions = replace(decisions, settled=replace(decisions.settled, ladder=rungs))
    plan = lower(small.bind(small.TABULAR, folder), decisions, small.HARDWARE, small.MODEL, small.DATA)
    return passes.run(plan)


def test_lowers_each_rung_to_a_search_and_a_file_of_its_own(tmp_path):
    plan = lowered(tmp_path)
    assert [(search.rung, search.name, search.candidates) for search in plan.searches] == [
        ("none", "model-none", ("onnx",)),
        ("ort.static", "model-ort-static", ("onnx.ort.static",)),
        ("ort.dynamic", "model-ort-dynamic", ("onnx.ort.dynamic",)),
    ]
    assert problems(plan) == ()
    # The plain file of another rung is what a rung is compared with.
    assert {candidate.id: candidate.plain for candidate in plan.candidates} == {
        "onnx": "", "onnx.ort.static": "onnx", "onnx.ort.dynamic": "onnx",
    }  # fmt: skip


def test_keeps_the_identity_of_a_plan_without_a_ladder(tmp_path):
    plain = lowered(tmp_path, rungs=())
    assert all("rung" not in search for search in identity(plain)["searches"])
    assert [search["rung"] for search in identity(lowered(tmp_path))["searches"]] == [
        "none",
        "ort.static",
        "ort.dynamic",
    ]


@given(st.permutations(RUNGS), st.integers(1, 3))
def test_gives_every_rung_its_own_candidates_in_the_order_of_the_recipe(rungs, count):
    some = tuple(rungs[:count])
    decisions = small.decisions(small.PLAIN, small.DYNAMIC, small.STATIC)
    decisions = replace(decisions, settled=replace(decisions.settled, ladder=some))
    made = entries(decisions)
    assert [entry.request.rung for entry in made] == [rung.name for rung in some]
    assert [tuple(each.id for each in entry.competing) for entry in made] == [rung.chains for rung in some]
    assert len({entry.request.name for entry in made}) == count


@given(st.sampled_from(("none", *catalog.quantization_methods())), st.sampled_from(("", "-4bit", ".variant")))
def test_finds_the_method_of_a_rung(method, form):
    methods = ("none", *catalog.quantization_methods())
    assert method_of(method + form, methods) == (None if method == "none" and form else method)
    assert method_of(f"x{method}", methods) is None

"""Waivers are taken into the contract, where a diff shows them, and refused where nobody may give one."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.schema.compare.plans import gates
from titrant.schema.contract.waivers import GateWaiver
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.plan import Plan

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[2] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)


def waiving(*names, more="", reason="a rare class", by="J. Doe", until="2027-01-31"):
    rows = "".join(f"  - {{gate: '{name}', reason: '{reason}', by: '{by}', until: {until}}}\n" for name in names)
    return f"{case.RECIPE}{more}validation:\n  accept:\n{rows}"


def refused(text):
    with pytest.raises(RecipeError) as caught:
        case.decided(text)
    return [(each.code, each.message, each.help) for each in caught.value.diagnostics]


def test_takes_a_waiver_into_the_contract_and_leaves_the_gate_as_it_is():
    settled = case.decided(waiving("retention")).settled.contract
    assert settled.waivers == (GateWaiver("retention", "a rare class", "J. Doe", "2027-01-31"),)
    assert settled.gates == case.decided(case.RECIPE).settled.contract.gates


@pytest.mark.parametrize("blank", ["reason", "by"])
def test_refuses_a_waiver_that_nobody_answers_for(blank):
    assert [code for code, *_ in refused(waiving("retention", **{blank: "  "}))] == ["R220"]


def test_refuses_two_waivers_of_one_gate():
    assert [code for code, *_ in refused(waiving("retention", "retention"))] == ["R221"]


def test_names_the_nearest_gate_for_one_that_there_is_not():
    ((code, message, help_text),) = refused(waiving("retenton"))
    assert (code, message) == ("P154", "the contract has no gate `retenton`")
    assert help_text == "did you mean `retention`?"


MEDICAL, PRESERVED = "level: medical_critical\n", "preserve: medical\n"


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("executed", "", "a file that does not run as planned"),
        ("reference", "", "no better than a constant answer"),
        ("safety.kept", MEDICAL, "level medical_critical lets no critical case be lost by agreement"),
        ("safety.sensitivity", PRESERVED, "preserve medical lets no critical case be lost by agreement"),
        ("retention", PRESERVED, "which cannot be switched off either"),
        ("bias.size.[-inf, 12)", PRESERVED, "which cannot be switched off either"),
    ],
)
def test_refuses_what_nobody_can_answer_for(name, more, why):
    ((code, message, _),) = refused(waiving(name, more=more))
    assert code == "P155"
    assert why in message


@pytest.mark.parametrize("name", ["retention", "bias.size.[-inf, 12)", "batch_invariance"])
def test_lets_the_strictest_level_be_waived_where_it_may_be_switched_off_and_no_critical_case_is_lost(name):
    assert case.decided(waiving(name, more=MEDICAL)).settled.contract.waivers[0].gate == name


def test_refuses_a_waiver_of_what_is_asked_of_the_original_alone():
    text = waiving("baseline") + "  baseline: {metric: accuracy, at_least: 0.9}\n"
    assert [code for code, *_ in refused(text)] == ["P155"]


def test_shows_waivers_between_two_plans():
    contracts = [case.decided(text).settled.contract for text in (case.RECIPE, waiving("retention"))]
    before, after = (gates(replace(_PLAN, contract=contract)) for contract in contracts)
    assert after.keys() - before.keys() == {"waiver of retention"}
    assert after["waiver of retention"]["until"] == "2027-01-31"


_PLAN = Plan(
    name="x", recipe_digest="r", language=1, task="t", hardware=case.AVX2.identity, model_digest="m", data_digest="d",
    threads=1, timing_threads=1, deterministic=True, original="o.model", original_engine="torch", decisions=(),
    steps=(), candidates=(), searches=(), contract=case.decided(case.RECIPE).settled.contract,
)  # fmt: skip

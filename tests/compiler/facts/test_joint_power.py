"""The chance that all gates pass is asked for once, kept, and no part of what a plan is."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.compile import compile_plan
from titrant.compiler.facts.power import with_power
from titrant.runtime.contract.power.simulate import answer
from titrant.schema.plan import plan_digest

specification = importlib.util.spec_from_file_location("small_recipes", Path(__file__).parents[1] / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)


class Child:
    """Simulates as the child does, and keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, request):
        self.asked.append(request)
        return answer(request)


@pytest.fixture
def plan(tmp_path):
    return compile_plan(small.bind(small.TABULAR, tmp_path), small.HARDWARE, small.MODEL, small.JUDGED)


def test_asks_once_for_the_same_contract_on_the_same_rows(plan, tmp_path):
    child = Child()
    first = with_power(plan, small.JUDGED, child, tmp_path)
    again = with_power(plan, small.JUDGED, child, tmp_path)
    assert len(child.asked) == 1
    assert first.power == again.power
    assert set(first.power.gates) | set(first.power.left_out) == {gate.id for gate in plan.contract.gates}


def test_asks_again_where_the_contract_or_the_rows_are_others(plan, tmp_path):
    child = Child()
    chances = [with_power(plan, small.JUDGED, child, tmp_path).power.chance]
    stricter = tuple(replace(gate, threshold=0.995) if gate.id == "retention" else gate for gate in plan.contract.gates)
    other = replace(plan, contract=replace(plan.contract, gates=stricter))
    chances.append(with_power(other, small.JUDGED, child, tmp_path).power.chance)
    evaluation = small.JUDGED.roles["evaluation"]
    many = replace(evaluation, rows=20 * evaluation.rows, units=20 * evaluation.units,
                   classes={name: 20 * count for name, count in evaluation.classes.items()})  # fmt: skip
    grown = replace(small.JUDGED, roles={**small.JUDGED.roles, "evaluation": many})
    chances.append(with_power(other, grown, child, tmp_path).power.chance)
    assert len(child.asked) == 3
    assert chances[1] < min(chances[0], chances[2])


def test_moves_no_identity(plan, tmp_path):
    assert plan_digest(with_power(plan, small.JUDGED, Child(), tmp_path)) == plan_digest(plan)


def test_makes_up_no_number_where_no_row_is_known(plan, tmp_path):
    def nobody(_):
        raise AssertionError("asked")

    nothing = replace(small.JUDGED, roles={})
    assert with_power(plan, nothing, nobody, tmp_path).power is None


def test_asks_again_where_what_was_kept_is_damaged(plan, tmp_path):
    child = Child()
    first = with_power(plan, small.JUDGED, child, tmp_path)
    (kept,) = tmp_path.glob("power-*.json")
    kept.write_text(kept.read_text("utf-8").replace('"draws"', '"drawn"'), "utf-8")
    assert with_power(plan, small.JUDGED, child, tmp_path).power == first.power
    assert len(child.asked) == 2


def test_simulates_no_open_looks(plan, tmp_path):
    open_looks = replace(plan, contract=replace(plan.contract, looks="open"))
    child = Child()
    assert with_power(open_looks, small.JUDGED, child, tmp_path).power is None
    assert child.asked == []

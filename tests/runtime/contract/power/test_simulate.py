"""All gates are drawn together, and the gate that costs most is named with the rows that would help."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from titrant.runtime.contract.power.draws import Draws, sample_of
from titrant.runtime.contract.power.gates import passes
from titrant.runtime.contract.power.simulate import joint_power
from titrant.schema.facts import RoleFacts
from titrant.schema.gate import Gate, gate_test
from titrant.schema.values.slice import Slice


def gate(name, metric, comparison, threshold, where="all"):
    preset = "bias" if where.startswith("subgroup") else "gates"
    return Gate(name, preset, metric, where, comparison, threshold, gate_test(metric, comparison), "x")


def rows(hospitals, positives):
    total, ill = sum(hospitals.values()), sum(positives.values())
    return RoleFacts(total, total, {"well": total - ill, "ill": ill}, {"h": hospitals}, {"h": positives})


HELD = rows({"A": 400, "B": 120}, {"A": 200, "B": 70})
PAIRS = tuple(
    gate(f"{one}/{other}", "sensitivity", "ratio_at_least", 0.85, f"subgroup h.{one} / h.{other}")
    for one, other in itertools.permutations("AB", 2)
)


def power(*gates, facts=HELD, tried=0):
    return joint_power(gates, sample_of(facts, "ill", gates, tried), 0.95)


def test_is_no_better_than_its_weakest_gate_and_no_worse_than_if_they_fail_apart():
    together = power(gate("retention", "accuracy", "retention", 0.985), *PAIRS)
    assert together.chance <= min(together.gates.values())
    assert together.chance >= sum(together.gates.values()) - len(together.gates) + 1 - 1e-9
    assert together.costliest == min(together.gates, key=together.gates.get)


def test_gives_the_same_answer_each_time():
    assert power(*PAIRS) == power(*PAIRS)


def test_names_rows_with_which_the_gate_passes_with_nine_in_ten():
    pair = replace(PAIRS[0], threshold=0.9)
    alone = power(pair)
    assert alone.gates["A/B"] < 0.9
    assert alone.more_of == "ill rows of h.B"
    more = alone.more_rows
    grown = rows({"A": 400, "B": 120 + round(more * 120 / 70)}, {"A": 200, "B": 70 + more})
    assert power(pair, facts=grown).gates["A/B"] >= 0.87


def test_leaves_out_what_is_not_about_answers():
    size = Gate("size", "target", "size", "all", "at_most", 1000.0, "counted", "x", "B")
    open_one = Gate("kept", "safety", "kept", "all", "at_least", 0.98, "not_assessable", "x")
    assert power(size, open_one).chance is None
    both = power(size, gate("retention", "accuracy", "retention", 0.95))
    assert both.left_out == ("size",)
    assert both.chance is not None


def test_never_passes_a_gate_on_rows_that_are_not_there():
    missing = gate("g", "sensitivity", "retention", 0.5, "subgroup h.C")
    assert power(missing).gates == {"g": 0.0}


def test_assumes_of_the_original_what_an_absolute_gate_asks():
    strict = gate("s", "sensitivity", "at_least", 0.95, "class ill")
    sample = sample_of(HELD, "ill", (strict,), 0)
    assert sample.right == {"well": 0.9, "ill": 0.975}


@pytest.mark.parametrize("kind", ["positive", "rest", "all"])
def test_deals_every_row_out_to_a_subgroup_once(kind):
    draws = Draws(sample_of(HELD, "ill", (), 0), 50, np.random.default_rng(1))
    parts = [draws.inside(Slice("subgroup", group="h", value=value), kind) for value in "AB"]
    whole = {"positive": draws.of("ill"), "rest": draws.rest("ill"), "all": draws.all()}[kind]
    for name in ("both", "lost", "gained", "neither"):
        assert (sum(getattr(part, name) for part in parts) == getattr(whole, name)).all()
    assert set(parts[1].cases) == {{"positive": 70, "rest": 50, "all": 120}[kind]}


def test_counts_units_of_several_rows_as_fewer_cases():
    several = replace(HELD, units=52, class_units={"well": 25, "ill": 27})
    retention = gate("retention", "accuracy", "retention", 0.97)
    assert power(retention, facts=several).chance < power(retention).chance


def test_tries_as_many_rows_in_other_company_as_the_run_does():
    invariance = gate("b", "batch_invariance", "at_least", 0.98)
    assert power(invariance, tried=100).chance == 0.0
    assert power(invariance, tried=386).chance > 0.8


def test_changes_as_many_decisions_as_is_assumed():
    draws = Draws(sample_of(HELD, "ill", (), 0), 4000, np.random.default_rng(1))
    counts = draws.all()
    assert counts.changed.mean() / 520 == pytest.approx(0.005, rel=0.1)
    assert counts.lost.mean() == pytest.approx(counts.gained.mean(), rel=0.1)
    assert passes(gate("r", "accuracy", "retention", 0.5), draws, 0.95).all()

"""The cases that the plan asks for prove the gate, judged as the run will judge it."""

import importlib.util
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from titrant.compiler.decide.gate_cases import with_cases, without_bound
from titrant.runtime.contract.judge import judge
from titrant.schema.facts import DataFacts, RoleFacts
from titrant.schema.gate import Gate, gate_test

folder = Path(__file__).parents[2] / "runtime" / "contract" / "conftest.py"
specification = importlib.util.spec_from_file_location("pieces", folder)
pieces = importlib.util.module_from_spec(specification)
specification.loader.exec_module(pieces)


def planned(metric, comparison, threshold, classes, units=None):
    rows = sum(classes.values())
    evaluation = RoleFacts(rows, rows if units is None else units, classes)
    data = DataFacts("digest", rows, (), tuple(classes), "ill", (), {"evaluation": evaluation})
    test = gate_test(metric, comparison)
    return with_cases(Gate("g", "gates", metric, "all", comparison, threshold, test, "x"), data, 0.95)


def judged(gate, labels, candidate, units=None):
    rows = pieces.make_rows(labels, classes=("well", "ill"), units=units)
    old, new = pieces.make_answers(labels), pieces.make_answers(candidate)
    return judge(gate, pieces.Evidence(rows, old, new, old.decisions == new.decisions))


def share_proven(gate, labels, runs, *, seed=1, units=None):
    """Draw a faithful candidate so often, as the plan assumes one, and return the share that is proven."""
    generator, proven = np.random.default_rng(seed), 0
    for _ in range(runs):
        right = generator.random(len(labels)) < 0.9
        chance = generator.random(len(labels))
        kept = np.where(right, chance >= 0.0025 / 0.9, chance < 0.0025 / 0.1)
        old, new = (np.where(one, labels, 1 - labels) for one in (right, kept))
        rows = pieces.make_rows(labels, classes=("well", "ill"), units=units)
        answers = [pieces.make_answers(old, sure=0.75), pieces.make_answers(new, sure=0.75)]
        evidence = pieces.Evidence(rows, *answers, answers[0].decisions == answers[1].decisions)
        proven += judge(gate, evidence).verdict == "PASS"
    return proven / runs


@pytest.mark.parametrize("ill", [50, 10])
@pytest.mark.parametrize(
    ("metric", "comparison", "threshold"),
    [
        ("balanced_accuracy", "retention", 0.95), ("f1", "drop_at_most", 0.05), ("precision", "retention", 0.9),
        ("brier", "rise_at_most", 0.02), ("kept", "at_least", 0.95), ("accuracy", "drop_at_most", 0.05),
    ],
)  # fmt: skip
def test_asks_for_as_many_rows_as_prove_a_faithful_candidate(metric, comparison, threshold, ill):
    gate = planned(metric, comparison, threshold, {"well": 100 - ill, "ill": ill})
    rows = gate.needed_cases if metric != "kept" else math.ceil(gate.needed_cases * 100 / ill)
    labels = (np.arange(rows) < math.ceil(rows * ill / 100)).astype(int)
    assert 0.73 <= share_proven(gate, labels, 80) <= 0.97
    assert share_proven(gate, labels[::5], 40) < 0.7


@pytest.mark.parametrize(("groups", "sizes"), [(2, (1.0, 1.0)), (4, (1.0, 1.0, 1.0, 1.0)), (3, (1.0, 2.0, 3.0))])
def test_asks_for_as_many_of_a_group_as_prove_all_ordered_pairs(groups, sizes):
    names = [f"h{place}" for place in range(groups)]
    rows = dict.fromkeys(names, 100)
    evaluation = RoleFacts(100 * groups, 100 * groups, {"well": 0, "ill": 100 * groups}, {"h": rows}, {"h": rows})
    data = DataFacts("digest", 100 * groups, (), ("well", "ill"), "ill", (), {"evaluation": evaluation})
    asked = ("ratio_at_least", 0.85, "group_ratio", "x")
    pairs = [
        with_cases(Gate("g", "bias", "sensitivity", f"subgroup h.{one} / h.{other}", *asked), data, 0.95)
        for one, other in itertools.permutations(names, 2)
    ]  # fmt: skip
    needed = {pair.needed_cases for pair in pairs}
    assert len(needed) == 1
    members = np.repeat(np.arange(groups), [math.ceil(max(needed) * size) for size in sizes])
    generator, proven, runs = np.random.default_rng(3), 0, 80
    for _ in range(runs):
        decided = (generator.random(len(members)) < 0.9).astype(int)
        given = pieces.make_rows(np.ones(len(members), int), classes=("well", "ill"))
        given = replace(given, subgroups={"h": members}, subgroup_values={"h": tuple(names)})
        answers = pieces.make_answers(decided)
        evidence = pieces.Evidence(given, answers, answers, np.ones(len(members), bool))
        proven += all(judge(pair, evidence).verdict == "PASS" for pair in pairs)
    assert 0.73 <= proven / runs <= (0.88 if set(sizes) == {1.0} else 1.0)


def test_counts_the_cases_of_the_rarer_class_for_the_area_under_the_curve():
    gate = planned("auroc", "retention", 0.98, {"well": 900, "ill": 100})
    assert (gate.needed_cases, gate.available_cases) == (218, 100)
    labels = np.repeat([1, 0], [218, 900])
    assert judged(gate, labels, labels).verdict == "PASS"
    assert judged(gate, labels[60:], labels[60:]).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(("comparison", "threshold"), [("retention", 0.97), ("drop_at_most", 0.03)])
def test_asks_for_enough_units_though_each_of_them_may_fail_whole(comparison, threshold):
    gate = planned("accuracy", comparison, threshold, {"well": 900, "ill": 100}, units=125)
    labels = (np.random.default_rng(2).random(8 * gate.needed_cases) < 0.1).astype(int)
    units = np.arange(len(labels)) // 8
    assert 0.73 <= share_proven(gate, labels, 80, units=units) <= 0.97


def test_counts_cases_of_masks_whose_images_all_have_a_class():
    evaluation = RoleFacts(48, 48, {"background": 48, "lesion": 12})
    data = DataFacts("digest", 48, (), ("background", "lesion"), None, (), {"evaluation": evaluation})
    asked = ("dice", "class background", "retention", 0.9, gate_test("dice", "retention"), "x")
    assert with_cases(Gate("g", "gates", *asked), data, 0.95).test == "case_means"


@pytest.mark.parametrize(
    ("test", "units", "words"),
    [
        ("case_means", 40, "where rows come in units"),
        ("case_means", 60, ""),
        ("case_means", 120, ""),
        ("case_groups", 120, "at any number of looks (validation.looks: open)"),
        ("image_bootstrap", 120, "at any number of looks (validation.looks: open)"),
        ("exact_binomial", 40, ""),
    ],
)
def test_says_which_gates_have_no_bound_at_any_number_of_looks(test, units, words):
    data = DataFacts("digest", 120, (), (), None, (), {"evaluation": RoleFacts(120, units, {})})
    why = without_bound(Gate("g", "gates", "mae", "all", "retention", 0.9, test, "x"), data)
    assert words in why
    assert bool(why) == bool(words)

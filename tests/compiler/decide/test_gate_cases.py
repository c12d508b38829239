"""The cases that the plan asks for prove the gate, judged as the run will judge it."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from titrant.compiler.decide.gate_cases import with_cases
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


@pytest.mark.parametrize("ill", [50, 20, 5])
@pytest.mark.parametrize(
    ("metric", "comparison", "threshold"),
    [
        ("balanced_accuracy", "retention", 0.95), ("f1", "drop_at_most", 0.05), ("precision", "retention", 0.9),
        ("f1", "retention", 0.97),
    ],
)  # fmt: skip
def test_asks_for_more_rows_the_rarer_a_class_is(metric, comparison, threshold, ill):
    gate = planned(metric, comparison, threshold, {"well": 100 - ill, "ill": ill})
    for share, verdict in ((1.05, "PASS"), (0.85, "INCONCLUSIVE")):
        rows = math.ceil(share * gate.needed_cases)
        labels = (np.arange(rows) < math.ceil(rows * ill / 100)).astype(int)
        assert judged(gate, labels, labels).verdict == verdict


def test_counts_the_cases_of_the_rarer_class_for_the_area_under_the_curve():
    gate = planned("auroc", "retention", 0.98, {"well": 900, "ill": 100})
    assert (gate.needed_cases, gate.available_cases) == (160, 100)
    labels = np.repeat([1, 0], [160, 900])
    assert judged(gate, labels, labels).verdict == "PASS"
    assert judged(gate, labels[2:], labels[2:]).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(("comparison", "threshold"), [("retention", 0.97), ("drop_at_most", 0.03)])
def test_asks_for_enough_units_though_each_of_them_may_fail_whole(comparison, threshold):
    gate = planned("accuracy", comparison, threshold, {"well": 900, "ill": 100}, units=125)
    generator = np.random.default_rng(2)
    units = np.repeat(np.arange(gate.needed_cases), 8)
    proven, runs = 0, 100
    for _ in range(runs):
        labels = (generator.random(len(units)) < 0.1).astype(int)
        candidate = np.where(generator.random(len(units)) < 0.0025, 1 - labels, labels)
        proven += judged(gate, labels, candidate, units).verdict == "PASS"
    assert proven / runs >= 0.75

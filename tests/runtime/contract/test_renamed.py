"""A gate's answer does not depend on the order of rows, nor on what units and classes are called."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge
from titrant.runtime.contract.statistics.means import BOOTSTRAP
from titrant.runtime.contract.verdict import meets
from titrant.runtime.values import Rows
from titrant.schema.gate import SMALLER_IS_BETTER, Gate, gate_test

METRICS = (
    "accuracy", "sensitivity", "specificity", "balanced_accuracy", "precision", "f1", "auroc", "brier",
)  # fmt: skip
COMPARISONS = ("at_least", "at_most", "retention", "drop_at_most", "rise_at_most")
ASKED = [
    *((metric, comparison) for metric in METRICS for comparison in COMPARISONS if gate_test(metric, comparison)),
    ("kept", "at_least"), ("same_decision", "at_least"), ("agreement", "at_least"), ("accuracy", "ratio_at_least"),
    ("sensitivity", "ratio_at_least"),
]  # fmt: skip
PAIR, GROUP = "subgroup sex.f / sex.m", "subgroup sex.f"


@st.composite
def cases(draw):
    """Draw rows with both models' scores, units of several sizes, and a subgroup."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, classes = draw(st.sampled_from([12, 40, 150])), draw(st.sampled_from([2, 2, 3]))
    labels = generator.integers(0, classes, count)
    old = generator.normal(size=(count, classes))
    old[np.arange(count), labels] += draw(st.sampled_from([1.0, 4.0]))
    moved = generator.random(count) < draw(st.sampled_from([0.0, 0.02, 0.3]))
    new = np.where(moved[:, None], generator.normal(size=old.shape), old)
    units = generator.integers(0, max(1, int(count * draw(st.sampled_from([0.3, 0.95])))), count)
    return {
        "labels": labels, "old": old, "new": new, "units": units if draw(st.booleans()) else np.arange(count),
        "groups": generator.integers(-1, 2, count), "classes": tuple("abc"[:classes]),
        "positive": draw(st.sampled_from([None, 0, 1])), "always_valid": draw(st.sampled_from([False, False, True])),
    }  # fmt: skip


def answers(logits):
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Answers(scores, logits.argmax(axis=1))


def answered(gate, drawn):
    old, new = answers(drawn["old"]), answers(drawn["new"])
    rows = Rows(
        role="evaluation", inputs={}, labels=drawn["labels"], units=drawn["units"],
        ids=np.arange(len(drawn["labels"]), dtype=np.uint64), classes=drawn["classes"], positive=drawn["positive"],
        subgroups={"sex": drawn["groups"]}, subgroup_values={"sex": ("f", "m")},
    )  # fmt: skip
    return judge(gate, Evidence(rows, old, new, old.decisions == new.decisions, always_valid=drawn["always_valid"]))


def assert_same(first, second, *, bounds=True):
    for name in ("estimate", *(("lower", "upper") if bounds else ()), "original", "candidate"):
        left, right = getattr(first, name), getattr(second, name)
        assert left is right or math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-6), name
    assert (first.cases, first.changed, first.units) == (second.cases, second.changed, second.units)
    assert not bounds or (first.verdict, first.needed_cases) == (second.verdict, second.needed_cases)


@settings(max_examples=60)
@given(
    cases(),
    st.sampled_from(ASKED),
    st.sampled_from(["all", "class a", GROUP]),
    st.sampled_from([0.05, 0.3, 0.8, 0.95, 0.99]),
    st.integers(0, 9),
)
def test_answers_the_same_whatever_rows_units_and_classes_are_called(drawn, asked, among, threshold, seed):
    metric, comparison = asked
    where = PAIR if comparison == "ratio_at_least" else among
    gate = Gate("g", "gates", metric, where, comparison, threshold, gate_test(metric, comparison), "here")
    result, generator = answered(gate, drawn), np.random.default_rng(seed)
    by_row = ("labels", "old", "new", "units", "groups")

    order = generator.permutation(len(drawn["labels"]))
    assert_same(result, answered(gate, drawn | {name: drawn[name][order] for name in by_row}))

    names = generator.permutation(int(drawn["units"].max()) + 1) * 7 + 3
    assert_same(result, answered(gate, drawn | {"units": names[drawn["units"]]}))

    turned = generator.permutation(len(drawn["classes"]))
    new_place = np.argsort(turned)
    renamed = {
        "labels": new_place[drawn["labels"]], "old": drawn["old"][:, turned], "new": drawn["new"][:, turned],
        "classes": tuple(drawn["classes"][place] for place in turned),
        "positive": None if drawn["positive"] is None else int(new_place[drawn["positive"]]),
    }  # fmt: skip
    # Resamples are drawn in the order of the classes: in another order they are others, and so are their bounds.
    assert_same(result, answered(gate, drawn | renamed), bounds=result.method != BOOTSTRAP)

    inside = drawn["groups"] == 0
    if where == GROUP and inside.any():
        alone = drawn | {name: drawn[name][inside] for name in by_row}
        assert_same(result, answered(replace(gate, slice="all"), alone))

    worst = result.upper if comparison in SMALLER_IS_BETTER else result.lower
    assert result.verdict != "PASS" or (worst is not None and meets(gate, worst))
    assert result.lower is None or result.estimate is None or result.lower <= result.estimate + 1e-9

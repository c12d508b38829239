"""A gate passes in the draws of the simulation in which the contract's own test passes the same rows."""

import importlib.util
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.judge import judge
from titrant.runtime.contract.power.draws import Draws, sample_of
from titrant.runtime.contract.power.gates import passes
from titrant.runtime.contract.statistics.means import BOOTSTRAP
from titrant.schema.facts import RoleFacts
from titrant.schema.gate import Gate, gate_test
from titrant.schema.values.slice import Slice

file = Path(__file__).parents[1] / "conftest.py"
specification = importlib.util.spec_from_file_location("pieces", file)
pieces = importlib.util.module_from_spec(specification)
specification.loader.exec_module(pieces)

VALUES = ("A", "B", "C")
PARTS = ("both", "lost", "gained", "neither")


def gate(metric, comparison, threshold, where="all", preset="gates", **more):
    return Gate("g", preset, metric, where, comparison, threshold, gate_test(metric, comparison), "here", **more)


def facts(sizes):
    """`sizes`: (ill, well) rows of each hospital."""
    ill, well = (sum(size[side] for size in sizes) for side in (0, 1))
    rows = {name: sum(size) for name, size in zip(VALUES, sizes, strict=False)}
    positives = {name: size[0] for name, size in zip(VALUES, sizes, strict=False)}
    return RoleFacts(ill + well, ill + well, {"well": well, "ill": ill}, {"h": rows}, {"h": positives})


def rows_of(draws, place, values):
    """Write one draw out as rows: labels, both models' decisions, and the hospital of each row."""
    columns = [[], [], [], []]
    for hospital, value in enumerate(values):
        side = Slice("subgroup", group="h", value=value)
        for label, kind in ((1, "positive"), (0, "rest")):
            counts = draws.inside(side, kind)
            for part, old, new in zip(PARTS, (1, 1, 0, 0), (1, 0, 1, 0), strict=True):
                count = int(getattr(counts, part)[place])
                decided = (label if old else 1 - label, label if new else 1 - label)
                cells = (label, *decided, hospital)
                columns = [[*column, *[cell] * count] for column, cell in zip(columns, cells, strict=True)]
    return [np.array(column, dtype=np.int64) for column in columns]


def agrees(one, draws, place, simulated):
    """Whether the contract judges the rows of a draw so; by resamples it may decide otherwise than by bets."""
    labels, old, new, hospitals = rows_of(draws, place, VALUES)
    rows = pieces.make_rows(labels, classes=("well", "ill"))
    rows = replace(rows, subgroups={"h": hospitals}, subgroup_values={"h": VALUES})
    answers = [pieces.make_answers(decisions) for decisions in (old, new)]
    result = judge(one, pieces.Evidence(rows, *answers, answers[0].decisions == answers[1].decisions))
    return result.method == BOOTSTRAP or (result.verdict == "PASS") == simulated


GATES = (
    gate("accuracy", "retention", 0.98),
    gate("accuracy", "drop_at_most", 0.02),
    gate("sensitivity", "drop_at_most", 0.03),
    gate("kept", "at_least", 0.97),
    gate("sensitivity", "at_least", 0.85),
    gate("specificity", "at_least", 0.88),
    gate("accuracy", "at_most", 0.93),
    gate("same_decision", "at_least", 0.985),
    gate("balanced_accuracy", "retention", 0.97),
    gate("balanced_accuracy", "drop_at_most", 0.03),
    gate("f1", "retention", 0.95),
    gate("f1", "drop_at_most", 0.05),
    gate("precision", "retention", 0.95),
    gate("sensitivity", "retention", 0.95, "subgroup h.A", "bias", min_cases=50),
    gate("accuracy", "retention", 0.96, "class ill"),
    *(
        gate(metric, "ratio_at_least", threshold, f"subgroup h.{one} / h.{other}", "bias", min_cases=40)
        for metric, threshold in (("sensitivity", 0.85), ("accuracy", 0.9))
        for one, other in itertools.permutations(VALUES, 2)
    ),
    replace(gate("balanced_accuracy", "at_least", 0.6), preset="reference", test="two_proportions"),
)


@settings(max_examples=8, deadline=None)
@given(
    st.tuples(*[st.tuples(st.integers(1, 200), st.integers(1, 300)) for _ in VALUES]),
    st.integers(0, 1000),
    st.sampled_from([0.005, 0.02, 0.06]),
)
def test_passes_where_the_contract_does(sizes, seed, change):
    held = facts(sizes)
    sample = sample_of(held, "ill", (), 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("titrant.runtime.contract.power.draws.CHANGE", change)
        draws = Draws(sample, 4, np.random.default_rng(seed))
    for one in GATES:
        simulated = passes(one, draws, 0.95)
        assert all(agrees(one, draws, place, bool(simulated[place])) for place in range(4)), one


@pytest.mark.parametrize(("metric", "comparison"), [("accuracy", "retention"), ("sensitivity", "ratio_at_least")])
def test_simulates_nothing_where_no_answer_can_miss_the_threshold(metric, comparison):
    where = "subgroup h.A / h.B" if comparison == "ratio_at_least" else "all"
    draws = Draws(sample_of(facts([(20, 20), (20, 20)]), "ill", (), 0), 4, np.random.default_rng(0))
    assert passes(gate(metric, comparison, 0.0, where), draws, 0.95) is None

"""Both models' metrics by subgroup: right on every slice, and silent on small ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.metrics import slice_metrics
from titrant.runtime.report.slices import slice_table, without_small_slices
from titrant.runtime.values import Rows

LEAST = 5


def evidence(labels, groups, units=None, *, positive=1, seed=0):
    """Answers of two models, by scores that know something of the labels, to rows in the groups a, b, c (-1: none)."""
    labels = np.asarray(labels)
    count = len(labels)
    units = np.arange(count) if units is None else np.asarray(units)
    rows = Rows(
        "evaluation", {}, labels, units, np.arange(count, dtype=np.uint64), ("no", "yes"), positive,
        {"site": np.asarray(groups)}, {"site": ("a", "b", "c")},
    )  # fmt: skip
    both = []
    for spread in (0.4, 0.6):
        caught = np.clip(labels * 0.5 + spread * np.random.default_rng(seed).random(count), 0, 1)
        both.append(Answers(np.stack([1 - caught, caught], axis=1), (caught >= 0.5).astype(np.int64)))
    return Evidence(rows, *both, both[0].decisions == both[1].decisions)


def test_computes_what_scikit_learn_computes():
    from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

    generator = np.random.default_rng(3)
    found = evidence(generator.integers(0, 2, 90), generator.integers(-1, 3, 90))
    table = slice_metrics(found)
    assert [(part.group, part.value) for part in table] == [("", ""), ("site", "a"), ("site", "b"), ("site", "c")]
    for place, part in enumerate(table):
        chosen = np.ones(90, bool) if place == 0 else found.rows.subgroups["site"] == place - 1
        labels, scores = found.rows.labels[chosen], found.candidate.probabilities[chosen, 1]
        assert part.cases == chosen.sum()
        assert part.candidate["auroc"] == pytest.approx(roc_auc_score(labels, scores))
        assert part.candidate["brier"] == pytest.approx(brier_score_loss(labels, scores))
        decided = found.candidate.decisions[chosen]
        assert (part.candidate["sensitivity"] + part.candidate["specificity"]) / 2 == pytest.approx(
            balanced_accuracy_score(labels, decided)
        )


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-1, 2), st.integers(0, 12)), min_size=1, max_size=60))
def test_shows_nothing_of_few_cases_and_no_value_that_the_rest_gives_away(drawn):
    labels, groups, units = (np.array(column) for column in zip(*drawn, strict=True))
    real = slice_metrics(evidence(labels, groups, units))
    shown = without_small_slices(real, LEAST)
    assert [(part.group, part.value) for part in shown] == [(part.group, part.value) for part in real]
    for before, after in zip(real, shown, strict=True):
        if before.cases < LEAST or before.units < LEAST:
            assert not isinstance(after.cases, int)
        if not isinstance(after.cases, int):
            assert not isinstance(after.units, int)
            assert set((after.original | after.candidate).values()) == {None}
        if before.smallest < LEAST:
            assert not isinstance(after.smallest, int)
            assert after.candidate["sensitivity"] is after.candidate["auroc"] is None
    hidden = [part for part in shown[1:] if not isinstance(part.cases, int)]
    assert len(hidden) != 1 or len(shown) == 2


def test_lays_out_only_metrics_that_are_defined():
    table = slice_table(without_small_slices(slice_metrics(evidence([0, 1] * 40, [0, 0, 1, 1] * 20)), LEAST))
    assert table.metrics == ("accuracy", "sensitivity", "specificity", "auroc", "brier")
    assert [(row.name, row.cases) for row in table.rows] == [("all", "80"), ("site: a", "40"), ("site: b", "40")]
    one_class = slice_table(slice_metrics(evidence([1] * 40, [0] * 40)))
    assert one_class.metrics == ("accuracy", "sensitivity", "brier")
    assert slice_table(()) is None

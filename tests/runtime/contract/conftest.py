"""Small pieces of evidence, made by hand."""

import numpy as np
import pytest

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.values import Rows
from titrant.schema.gate import Gate


def make_rows(labels, *, classes=("benign", "malignant"), positive=1, units=None, groups=None):
    labels = np.asarray(labels, np.int64)
    values = tuple(dict.fromkeys(groups)) if groups is not None else ()
    return Rows(
        role="evaluation",
        inputs={},
        labels=labels,
        units=np.arange(len(labels)) if units is None else np.asarray(units),
        ids=np.arange(len(labels), dtype=np.uint64),
        classes=classes,
        positive=positive,
        subgroups={} if groups is None else {"sex": np.array([values.index(one) for one in groups])},
        subgroup_values={} if groups is None else {"sex": values},
    )


def make_answers(decisions, classes=2, sure=0.9):
    decisions = np.asarray(decisions, np.int64)
    probabilities = np.full((len(decisions), classes), (1 - sure) / (classes - 1))
    probabilities[np.arange(len(decisions)), decisions] = sure
    return Answers(probabilities, decisions)


@pytest.fixture
def evidence():
    """Build evidence from labels and both models' decisions."""

    def build(labels, original, candidate, **given):
        shape = {name: given.pop(name) for name in ("classes", "positive", "units", "groups") if name in given}
        rows = make_rows(labels, **shape)
        old, new = (make_answers(one, len(rows.classes)) for one in (original, candidate))
        return Evidence(rows, old, new, old.decisions == new.decisions, **given)

    return build


@pytest.fixture
def gate():
    """Build a gate."""

    def build(test, metric, comparison, threshold, *, where="all", preset="gates", **more):
        return Gate("g", preset, metric, where, comparison, threshold, test, "here", **more)

    return build


@pytest.fixture
def rows():
    return make_rows

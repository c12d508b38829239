"""Units, such as patients with several images, are counted beside rows."""

import numpy as np

from titrant.runtime.inspect.data import role_facts
from titrant.runtime.values import Rows


def rows(units):
    return Rows(
        role="evaluation",
        ids=np.arange(6, dtype=np.uint64),
        inputs={"x": np.zeros((6, 1), np.float32)},
        labels=np.array([0, 0, 1, 1, 1, 0]),
        units=np.array(units),
        subgroups={"sex": np.array([0, 0, 0, 1, 1, 1])},
        subgroup_values={"sex": ("F", "M")},
        classes=("benign", "malignant"),
        positive=1,
    )


def test_counts_nothing_twice_where_every_row_is_a_unit():
    found = role_facts(rows([0, 1, 2, 3, 4, 5]))
    assert found.units == 6
    assert (found.class_units, found.positive_units) == ({}, {})


def test_counts_a_unit_once_and_where_it_has_both_classes_in_both():
    found = role_facts(rows([0, 0, 0, 1, 1, 2]))
    assert (found.rows, found.units) == (6, 3)
    assert found.classes == {"benign": 3, "malignant": 3}
    assert found.class_units == {"benign": 2, "malignant": 2}
    assert found.other_units == {"benign": 2, "malignant": 2}
    assert found.subgroup_units == {"sex": {"F": 1, "M": 2}}
    assert found.positive_units == {"sex": {"F": 1, "M": 1}}
    assert found.negative_units == {"sex": {"F": 1, "M": 1}}

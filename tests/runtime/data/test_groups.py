"""Subgroups: bins that hold their lower end, values under labels, and rows that belong to none."""

import numpy as np
import pytest

from titrant.runtime.data.groups import assign, subgroup_values
from titrant.runtime.data.parameters import SubgroupColumn
from titrant.schema.diagnostics.diagnostics import RecipeError


def grouped(column, **group):
    group = SubgroupColumn(column="mean radius", **group)
    values = subgroup_values("size", group, [np.asarray(column)])
    return values, assign(group, values, np.asarray(column)).tolist()


def test_cuts_numbers_into_bins_that_hold_their_lower_end():
    values, numbers = grouped([11.9, 12, 15.9, 16, 99, np.nan], bins=[12, 16])
    assert values == ("mean radius < 12", "12 to 16", "≥ 16")
    assert numbers == [0, 1, 1, 2, 2, -1]


def test_takes_values_under_labels_and_leaves_the_others_out():
    assert grouped([1.0, 2.0, 3.0], values={"men": 1, "women": [2]}) == (("men", "women"), [0, 1, -1])
    assert grouped(["a", "b", "c"], values=["c", "a"]) == (("c", "a"), [1, -1, 0])
    assert grouped([1, 2, 3, 9], values={"low": [1, 2], "high": [3]}) == (("low", "high"), [0, 0, 1, -1])


def test_takes_every_value_where_none_is_named():
    assert grouped(["f", "m", ""]) == (("f", "m"), [0, 1, -1])


@pytest.mark.parametrize(
    ("column", "group", "message"),
    [
        ([1, 2], {"values": ["F"]}, "has no value F"),
        (["a"], {"bins": [1]}, "not a column of numbers"),
        ([1.0], {"bins": [3, 2]}, "do not rise"),
        (np.zeros((2, 2)), {"bins": [1]}, "is an array"),
    ],
)
def test_says_what_does_not_fit(column, group, message):
    with pytest.raises(RecipeError, match=message) as caught:
        grouped(column, **group)
    assert caught.value.diagnostics[0].code == "X125"


@pytest.mark.parametrize(("kind", "mend"), [(int, "add `bins: [low, high]`, or list"), (str, "list the values")])
def test_takes_every_value_of_a_column_of_few_and_asks_about_many(kind, mend):
    values = np.array([kind(value) for value in range(20)])
    group = SubgroupColumn(column="ward")
    assert len(subgroup_values("ward", group, [values])) == 20
    with pytest.raises(RecipeError, match="X125: ward has 21 values") as caught:
        subgroup_values("ward", group, [values, np.array([kind(99)])])
    assert mend in caught.value.diagnostics[0].help

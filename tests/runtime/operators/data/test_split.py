"""Splitting: exact counts, whole groups, no dependence on order, and no row in two roles."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from titrant.runtime.operators.data.load import DataLoadParams, load
from titrant.runtime.operators.data.split import ROLES, DataSplitParams, split
from titrant.runtime.values import Table, Tables
from titrant.schema.diagnostics.diagnostics import PreconditionError, RecipeError

USUAL = {role: {"source": share} for role, share in zip(ROLES, (0.5, 0.1, 0.1, 0.3), strict=True)}


def one(**columns):
    return Tables({"source": Table({name: np.asarray(values) for name, values in columns.items()})})


def rows(result, role, source="source"):
    return result.roles[role].get(source, np.empty(0, int))


def numbers(count, seed=0):
    generator = np.random.default_rng(seed)
    return one(
        a=generator.standard_normal(count), b=generator.standard_normal(count), y=generator.integers(0, 3, count)
    )


def test_comes_as_near_to_the_fractions_as_whole_rows_allow():
    tables = load(DataLoadParams(sources={"source": {"sklearn": "breast_cancer"}}, label="target"), seed=42)
    result = split(DataSplitParams(roles=USUAL, label="target"), tables, seed=42)
    label = tables.sources["source"].columns["target"]
    assert {role: np.bincount(label[rows(result, role)]).tolist() for role in ROLES} == {
        "train": [106, 178],
        "tuning": [21, 36],
        "calibration": [21, 36],
        "evaluation": [64, 107],
    }


def test_gives_every_row_exactly_one_role():
    result = split(DataSplitParams(roles=USUAL, label="y"), numbers(503), seed=1)
    dealt = np.concatenate([rows(result, role) for role in ROLES])
    assert sorted(dealt.tolist()) == list(range(503))
    assert all(np.all(np.diff(rows(result, role)) > 0) for role in ROLES)


def test_depends_on_content_and_seed_only():
    tables = numbers(400)
    columns = tables.sources["source"].columns
    order = np.random.default_rng(5).permutation(400)
    shuffled = one(y=columns["y"][order], b=columns["b"][order], a=columns["a"][order].astype(np.float64))
    params = DataSplitParams(roles=USUAL, label="y")
    first, again, moved, other = (
        split(params, t, seed=s) for t, s in ((tables, 7), (tables, 7), (shuffled, 7), (tables, 8))
    )
    for role in ROLES:
        assert np.array_equal(rows(first, role), rows(again, role))
        assert set(rows(first, role)) == set(order[rows(moved, role)])
    assert set(rows(first, "train")) != set(rows(other, "train"))


def test_leaves_most_rows_where_they_were_when_some_are_added():
    tables = numbers(1000)
    fewer = one(**{name: column[:990] for name, column in tables.sources["source"].columns.items()})
    params = DataSplitParams(roles={"train": {"source": 0.7}, "evaluation": {"source": 0.3}}, label="y")
    before, after = (set(rows(split(params, t, seed=0), "evaluation")) for t in (fewer, tables))
    assert len(before & after) > 0.95 * len(before)


def test_keeps_identical_rows_together():
    values = np.repeat(np.arange(100.0), 3)
    tables = one(a=values, y=(np.arange(300) // 3) % 2)
    result = split(DataSplitParams(roles=USUAL, label="y"), tables, seed=3)
    owners = [set(values[rows(result, role)]) for role in ROLES]
    assert sum(len(owner) for owner in owners) == 100
    assert "200 of 300 rows of the data repeat" in result.notes[0]
    assert [len(rows(result, role)) for role in ROLES] == [150, 30, 30, 90]
    # Copies of one input are one unit, whatever stands in the columns that are no inputs.
    assert len(np.unique(result.units["source"])) == 100
    assert len(np.unique(result.units["source"][rows(result, "evaluation")])) == 30


@pytest.mark.parametrize("by", ["row", "order"])
def test_numbers_copies_in_two_sources_as_one_unit(by):
    tables = Tables({name: one(a=np.arange(5.0) + start).sources["source"] for name, start in (("x", 0), ("y", 3))})
    result = split(
        DataSplitParams(roles={"train": {"x": 0.5}, "tuning": {"y": 0.5}}, by=by, overlap="drop"), tables, seed=0
    )
    assert result.units["x"].tolist() == [0, 1, 2, 3, 4]
    assert result.units["y"].tolist() == [3, 4, 7, 8, 9]


def test_keeps_the_rows_of_a_patient_together_and_the_classes_even():
    generator = np.random.default_rng(0)
    patient = np.repeat(np.arange(200), generator.integers(1, 6, 200))
    label = (patient % 4 == 0).astype(int)
    tables = one(a=generator.standard_normal(len(patient)), patient=patient, y=label)
    result = split(DataSplitParams(roles=USUAL, by="patient", label="y"), tables, seed=0)
    assert sum(len(set(patient[rows(result, role)])) for role in ROLES) == 200
    for role, share in zip(ROLES, (0.5, 0.1, 0.1, 0.3), strict=True):
        for value in (0, 1):
            held = (label[rows(result, role)] == value).sum()
            assert abs(held - share * (label == value).sum()) <= 4
    assert len(np.unique(result.units["source"])) == 200


def test_cuts_in_order_into_contiguous_stretches():
    result = split(DataSplitParams(roles=USUAL, by="order", label="y"), numbers(100), seed=0)
    assert [rows(result, role).tolist() for role in ROLES] == [
        list(range(50)), list(range(50, 60)), list(range(60, 70)), list(range(70, 100)),
    ]  # fmt: skip


def test_leaves_roles_without_rows_that_the_recipe_leaves_out():
    result = split(DataSplitParams(roles={"evaluation": {"source": 0.25}}, label="y"), numbers(80), seed=0)
    assert len(rows(result, "train")) == 0
    assert len(rows(result, "evaluation")) == 20
    assert result.notes == ("60 rows of the data have no role",)


def test_gives_every_role_some_of_a_rare_class():
    tables = one(a=np.arange(104.0), y=[0] * 100 + [1] * 4)
    result = split(DataSplitParams(roles=USUAL, label="y"), tables, seed=0)
    assert all((rows(result, role) >= 100).sum() == 1 for role in ROLES)


def test_refuses_a_class_with_fewer_rows_than_roles():
    tables = one(a=np.arange(103.0), y=["well"] * 100 + ["ill"] * 3)
    with pytest.raises(PreconditionError, match="class ill has 3 distinct rows, for 4 roles"):
        split(DataSplitParams(roles=USUAL, label="y"), tables, seed=0)
    split(DataSplitParams(roles=USUAL, label="y", stratify=False), tables, seed=0)


@pytest.mark.parametrize(("values", "words"), [([1.0], "have equal inputs"), ([1.0, 2.0], "have one of 2 inputs")])
def test_refuses_rows_that_are_all_equal(values, words):
    tables = one(a=np.resize(values, 40), y=[0, 1] * 20)
    with pytest.raises(PreconditionError) as raised:
        split(DataSplitParams(roles=USUAL, label="y"), tables, seed=0)
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "X110"
    assert diagnostic.message == (
        f"all 40 rows of the data {words}, for 4 roles, and rows with equal inputs stay together"
    )


def test_refuses_fractions_above_one_and_sources_that_are_not_there():
    with pytest.raises(RecipeError, match=r"the roles take 1\.1 of the data"):
        split(DataSplitParams(roles={"train": {"source": 0.8}, "evaluation": {"source": 0.3}}), numbers(10), seed=0)
    with pytest.raises(RecipeError, match="train draws from old, which is not a source"):
        split(DataSplitParams(roles={"train": {"old": 1.0}}), numbers(10), seed=0)


def test_refuses_rows_without_a_value_of_the_column_that_keeps_rows_together():
    with pytest.raises(PreconditionError, match="1 rows have no patient"):
        split(DataSplitParams(roles=USUAL, by="patient"), one(a=[1.0, 2.0], patient=["x", ""]), seed=0)


def sources():
    old = {"a": np.arange(10.0), "y": np.arange(10) % 2, "p": np.arange(10)}
    new = {"a": np.arange(8.0, 14.0), "y": np.arange(6) % 2, "p": np.array([20, 21, 3, 23, 24, 25])}
    return Tables({"old": Table(old), "new": Table(new)})


NAMED = {"train": {"old": 0.6}, "calibration": {"old": 0.4}, "evaluation": {"new": 1.0}}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_refuses_rows_that_two_sources_share(dtype):
    given = sources()
    for table in given.sources.values():
        table.columns["a"] /= 3  # which float32 rounds
    given.sources["new"].columns["a"] = given.sources["new"].columns["a"].astype(dtype)
    with pytest.raises(PreconditionError, match=r"have the same inputs as rows of evaluation \(new\)") as caught:
        split(DataSplitParams(roles=NAMED, inputs=["a"], label="y"), given, seed=0)
    assert caught.value.diagnostics[0].code == "X111"
    assert "overlap: drop" in caught.value.diagnostics[0].help


def test_drops_shared_rows_from_the_role_that_does_not_judge():
    result = split(DataSplitParams(roles=NAMED, overlap="drop", inputs=["a"], label="y"), sources(), seed=0)
    assert rows(result, "evaluation", "new").tolist() == list(range(6))
    left = set(rows(result, "train", "old")) | set(rows(result, "calibration", "old"))
    assert left == set(range(8))
    assert result.dropped == 2
    assert all("dropped" in note for note in result.notes)


def test_drops_rows_of_a_patient_whom_another_source_judges():
    params = DataSplitParams(roles=NAMED, overlap="drop", by="p", inputs=["a"], label="y")
    result = split(params, sources(), seed=0)
    assert result.dropped == 3
    assert 3 not in set(rows(result, "train", "old")) | set(rows(result, "calibration", "old"))


def test_refuses_a_role_that_overlap_leaves_empty():
    tables = Tables({"a": Table({"x": np.arange(3.0)}), "b": Table({"x": np.arange(3.0)})})
    params = DataSplitParams(roles={"train": {"a": 1.0}, "evaluation": {"b": 1.0}}, overlap="drop")
    with pytest.raises(PreconditionError, match="train has no rows"):
        split(params, tables, seed=0)


@pytest.mark.parametrize("by", ["row", "a"])
def test_splits_many_rows_without_a_python_loop_over_them(by, lines_run):
    """What lets a million rows take seconds."""
    params = DataSplitParams(roles=USUAL, label="y", by=by)
    few, many = numbers(200), numbers(20_000)
    split(params, few, seed=0)  # imports
    assert lines_run(lambda: split(params, many, seed=0)) < 2 * lines_run(lambda: split(params, few, seed=0))


def test_evens_out_large_groups_with_single_rows():
    patient = np.concatenate([np.repeat(np.arange(21), 9), 100 + np.arange(211)])
    tables = one(a=np.arange(400.0), patient=patient)
    result = split(DataSplitParams(roles=USUAL, by="patient"), tables, seed=0)
    assert [len(rows(result, role)) for role in ROLES] == [200, 40, 40, 120]


@pytest.mark.parametrize(
    ("values", "words"), [(["a"] * 40, "the same value"), (["a", "b", "c"] * 14, "3 values")], ids=["one", "three"]
)
def test_refuses_a_column_with_fewer_values_than_there_are_roles(values, words):
    tables = one(a=np.arange(float(len(values))), site=values, y=[0, 1] * (len(values) // 2))
    with pytest.raises(PreconditionError) as raised:
        split(DataSplitParams(roles=USUAL, by="site", label="y"), tables, seed=0)
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "X435"
    assert diagnostic.message == (
        f"site has {words} in all {len(values)} rows of the data, for 4 roles, and rows of one value stay together"
    )
    assert "write `by: row`" in diagnostic.help


def test_keeps_copies_together_where_a_column_has_a_value_of_its_own_in_every_row():
    tables = one(a=np.repeat(np.arange(50.0), 2), number=np.arange(100))
    result = split(DataSplitParams(roles=USUAL, by="number", inputs=["a"]), tables, seed=0)
    for role in ROLES:
        held = tables.sources["source"].columns["a"][rows(result, role)]
        assert set(np.unique(held, return_counts=True)[1]) <= {2}
    assert len(np.unique(result.units["source"])) == 50
    assert result.notes[0] == (
        "number has a value of its own in each of 100 rows and keeps none together: rows with equal inputs are one "
        "unit, as with `split.by: row`"
    )


@st.composite
def drawn_tables(draw):
    """Draw one source or two, many of whose rows and patients are the same, and their roles."""
    sources, roles = {}, {}
    for name in draw(st.sampled_from([("s",), ("s", "t")])):
        generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        count, spread = draw(st.integers(2, 12)), draw(st.sampled_from([2, 6, 100]))
        given_as = draw(st.sampled_from(["f8", "f4", "i8"]))
        sources[name] = Table(
            {
                "a": (generator.integers(0, spread, count) / draw(st.sampled_from([1, 3]))).astype(given_as),
                "b": generator.integers(0, 2, count).astype(draw(st.sampled_from(["f8", "i4", "?"]))),
                "p": generator.integers(0, draw(st.sampled_from([3, 9])), count).astype(str),
            }
        )
        drawn = draw(st.lists(st.sampled_from(ROLES), min_size=1, unique=True))
        for role in drawn:
            roles.setdefault(role, {})[name] = draw(st.sampled_from([0.2, 1.0])) / len(drawn)
    return Tables(sources), roles


@settings(max_examples=60)
@given(drawn_tables(), st.sampled_from(["row", "p"]), st.integers(0, 3))
def test_lets_no_two_roles_share_inputs_or_patients(drawn, by, seed):
    tables, roles = drawn
    params = DataSplitParams(roles=roles, by=by, overlap="drop", inputs=["a", "b"], stratify=False)
    try:
        result = split(params, tables, seed=seed)
    except PreconditionError:
        assume(False)
    columns = {name: table.columns for name, table in tables.sources.items()}
    short = any(one["a"].dtype == np.float32 for one in columns.values())
    dealt = [(role, name, row) for role, by_name in result.roles.items() for name in by_name for row in by_name[name]]
    assert len({each[1:] for each in dealt}) == len(dealt)

    def of(name, row):
        number = columns[name]["a"][row]
        inputs = float(np.float32(number) if short else number), float(columns[name]["b"][row])
        return inputs, columns[name]["p"][row]

    patients = [patient for one in columns.values() for patient in one["p"]]
    kept_together = by == "p" and len(set(patients)) < len(patients)
    for (role, name, row), (other_role, other, other_row) in combinations(dealt, 2):
        (inputs, patient), (other_inputs, other_patient) = of(name, row), of(other, other_row)
        alike = patient == other_patient if kept_together else inputs == other_inputs
        assert (result.units[name][row] == result.units[other][other_row]) == alike
        if role != other_role:
            assert not alike
            assert name == other or inputs != other_inputs

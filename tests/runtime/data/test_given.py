"""Figures of the training, given in a recipe: taken as they are, in their order, and refused where they do not fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.data.parameters import TransformStep
from titrant.runtime.data.transforms import apply, fit
from titrant.runtime.operators.data.transform import wire
from titrant.runtime.values import Transforms
from titrant.schema.diagnostics.diagnostics import RecipeError


def transforms(columns, *steps):
    inputs, dtypes, unstacked = wire(columns, ())
    made = fit([TransformStep.model_validate(step) for step in steps], columns)
    return Transforms(made, inputs, dtypes, unstacked=unstacked)


def made(columns, *steps):
    return apply(transforms(columns, *steps), columns)["features"]


def refused(columns, *steps):
    with pytest.raises(RecipeError) as caught:
        transforms(columns, *steps)
    [diagnostic] = caught.value.diagnostics
    return diagnostic.code, diagnostic.key, diagnostic.message


ROWS = {"age": np.array([40.0, 60.0]), "kind": np.array(["q", "new"])}


def test_standardizes_with_the_figures_given():
    step = {"name": "standardize", "mean": {"age": 50.0}, "std": {"age": 5.0}}
    assert made({"age": ROWS["age"]}, step).tolist() == [[-2], [2]]


def test_keeps_values_in_the_order_given_and_gives_zeros_for_others():
    step = {"name": "one_hot", "values": {"kind": ("r", "q", "p")}}
    assert made({"kind": ROWS["kind"]}, step).tolist() == [[0, 1, 0], [0, 0, 0]]


def test_fills_gaps_with_the_values_given_in_columns_that_have_none_now():
    columns = {"a": np.array([1.0, 2.0]), "s": np.array(["x", "y"])}
    steps = {"name": "impute", "values": {"a": 7, "s": "x"}}, {"name": "one_hot"}
    later = {"a": np.array([np.nan]), "s": np.array([""])}
    assert apply(transforms(columns, *steps), later)["features"].tolist() == [[7, 1, 0]]


def test_standardizes_images_by_the_figures_of_their_channels():
    image = np.ones((2, 3, 4, 4), np.float32)
    step = {"name": "standardize", "mean": {"image": (0.0, 1.0, 2.0)}, "std": {"image": (1.0, 1.0, 0.5)}}
    answer = apply(transforms({"image": image}, step), {"image": image})["image"]
    assert answer[0, :, 0, 0].tolist() == [1, 0, -2]


@pytest.mark.parametrize(
    ("columns", "step", "key", "words"),
    [
        (ROWS, {"name": "one_hot", "values": {"kin": ("p",)}}, "data.transform.0.one_hot.values.kin", "no input"),
        (
            {"a": ROWS["age"], "b": ROWS["age"]},
            {"name": "standardize", "mean": {"a": 1.0}, "std": {"a": 1.0}},
            "data.transform.0.standardize.mean",
            "no mean and std for `b`",
        ),
        (
            {"a": np.zeros((2, 3))},
            {"name": "standardize", "mean": {"a": (1.0, 2.0)}, "std": {"a": 1.0}},
            "data.transform.0.standardize.mean.a",
            "2 numbers for `a`, which has 3 places",
        ),
        (
            {"a": ROWS["age"]},
            {"name": "standardize", "mean": {"a": 1.0}, "std": {"a": (1.0, 2.0)}},
            "data.transform.0.standardize.std.a",
            "one number a row",
        ),
        (
            {"a": ROWS["age"]},
            {"name": "impute", "values": {"a": "none"}},
            "data.transform.0.impute.values.a",
            "column of numbers",
        ),
    ],
)
def test_refuses_figures_that_do_not_fit_with_the_key_that_holds_them(columns, step, key, words):
    code, place, message = refused(columns, step)
    assert (code, place) == ("X240", key)
    assert words in message


def test_says_which_transform_an_older_refusal_is_about():
    code, key, _ = refused({"i": np.zeros((2, 3, 4, 4))}, {"name": "normalize", "mean": (0.0, 1.0), "std": (1.0, 1.0)})
    assert (code, key) == ("X122", "data.transform.0.normalize")


numbers = st.lists(st.sampled_from([-1.5, 0.0, 2.0, 1e6, float("nan")]), min_size=6, max_size=6)
words = st.lists(st.sampled_from(["", "a", "b", "ü", "10", "x y"]), min_size=6, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=3), st.lists(words, min_size=0, max_size=2))
def test_gives_what_fitting_gave_where_its_own_figures_are_written_out(numeric, texts):
    columns = {f"n{place}": np.array([*values, 1.0, 3.0]) for place, values in enumerate(numeric)}
    columns |= {f"t{place}": np.array([*values, "a", "b"]) for place, values in enumerate(texts)}
    names = ("impute", "one_hot", "standardize") if texts else ("impute", "standardize")
    fitted = transforms(columns, *({"name": name} for name in names))
    steps = []
    for step in fitted.steps:
        places = dict(enumerate(step.columns))
        if step.name == "standardize":
            figures = [
                {name: float(step.arrays[f"{place}.{key}"]) for place, name in places.items()}
                for key in ("mean", "spread")
            ]
            steps.append({"name": step.name, "mean": figures[0], "std": figures[1]})
        else:
            values = {name: step.arrays[str(place)].tolist() for place, name in places.items()}
            single = step.name == "impute"
            steps.append({"name": step.name, "values": {n: v[0] if single else tuple(v) for n, v in values.items()}})
    assert np.array_equal(apply(transforms(columns, *steps), columns)["features"], apply(fitted, columns)["features"])

"""Transforms: fitted on train rows, applied alike to every role and to what a user hands in later."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.data.parameters import TensorParams, TransformStep
from titrant.runtime.data.transforms import apply, apply_standardize, fit
from titrant.runtime.operators.data.split import DataSplitParams, split
from titrant.runtime.operators.data.transform import DataTransformParams, transform, wire
from titrant.runtime.values import RowSplit, Table, Tables, Transforms
from titrant.schema.diagnostics.diagnostics import PreconditionError, RecipeError, TitrantError


def fitted(columns, *steps, specs=()):
    columns = {name: np.asarray(column) for name, column in columns.items()}
    inputs, dtypes, unstacked = wire(columns, specs)
    return Transforms(fit([TransformStep(**step) for step in steps], columns), inputs, dtypes, unstacked=unstacked)


def inputs(columns, *steps):
    transforms = fitted(columns, *steps)
    return apply(transforms, {name: np.asarray(column) for name, column in columns.items()})


def test_stacks_columns_in_order_as_float32():
    made = inputs({"b": [1, 2], "a": [3.0, 4.0], "c": [True, False]})
    assert list(made) == ["features"]
    assert made["features"].dtype == np.float32
    assert made["features"].tolist() == [[1, 3, 1], [2, 4, 0]]


def test_standardizes_with_the_figures_of_train_rows():
    transforms = fitted({"a": [0.0, 2.0], "b": [5.0, 5.0]}, {"name": "standardize"})
    made = apply(transforms, {"a": np.array([1.0, 3.0]), "b": np.array([5.0, 6.0]), "unused": np.array(["x", "y"])})
    assert made["features"].tolist() == [[0, 0], [2, 1]]


def test_standardizes_images_by_channel_and_vectors_by_place():
    image = np.random.default_rng(0).standard_normal((50, 3, 4, 4)) * [[[[1]], [[5]], [[9]]]]
    made = inputs({"image": image}, {"name": "standardize"})["image"]
    np.testing.assert_allclose(made.std(axis=(0, 2, 3)), 1, rtol=1e-4)
    vector = np.random.default_rng(0).normal([1, 2, 3, 4], size=(50, 4))
    np.testing.assert_allclose(inputs({"v": vector}, {"name": "standardize"})["v"].mean(axis=0), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "mean", "std"), [(1, [0.5, 0.25, 0], [0.5, 0.5, 1]), (255, [127.5, 63.75, 0], [127.5, 127.5, 255])]
)
def test_normalizes_pixels_in_the_range_that_mean_and_std_are_given_in(scale, mean, std):
    pixels = np.full((2, 3, 2, 2), 51, dtype=np.uint8)
    step = {"name": "normalize", "mean": mean, "std": std, "scale": scale}
    for image in (pixels, (pixels / 255).astype(np.float32)):
        made = inputs({"image": image}, step)["image"]
        np.testing.assert_allclose(made[0, :, 0, 0], [-0.6, -0.1, 0.2], atol=1e-6)


def test_fills_gaps_with_what_train_rows_hold():
    columns = {"a": [1.0, 2.0, np.nan, 9.0], "s": ["x", "", "x", "y"]}
    filled = inputs(columns, {"name": "impute"}, {"name": "one_hot"})["features"]
    assert filled.tolist() == [[1, 1, 0], [2, 1, 0], [2, 1, 0], [9, 0, 1]]
    assert inputs({"a": [1.0, np.nan, 3.0]}, {"name": "impute", "strategy": "mean"})["features"].tolist() == [
        [1],
        [2],
        [3],
    ]


def test_fills_a_gap_that_train_rows_did_not_have():
    transforms = fitted({"a": [1.0, 3.0, 5.0]}, {"name": "impute"})
    assert apply(transforms, {"a": np.array([np.nan])})["features"].tolist() == [[3]]


def test_encodes_text_and_gives_zeros_for_values_not_seen():
    transforms = fitted({"s": ["b", "a", ""], "n": [1.0, 2.0, 3.0]}, {"name": "one_hot"}, {"name": "standardize"})
    made = apply(transforms, {"s": np.array(["a", "b", "c"]), "n": np.array([2.0, 2.0, 2.0])})["features"]
    assert made.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_encodes_numbers_that_are_named():
    made = inputs({"ward": [3, 1, 3]}, {"name": "one_hot", "columns": ["ward"]})
    assert made["features"].tolist() == [[0, 1], [1, 0], [0, 1]]


def test_names_the_column_in_which_gaps_are_left():
    with pytest.raises(PreconditionError, match="dose has missing values in 1 of 2 rows") as caught:
        inputs({"dose": [1.0, np.nan]})
    assert caught.value.diagnostics[0].code == "X120"
    assert "impute" in caught.value.diagnostics[0].help
    with pytest.raises(PreconditionError, match="standardize: dose has missing"):
        inputs({"dose": [1.0, np.nan]}, {"name": "standardize"})


@pytest.mark.parametrize(
    ("columns", "step", "code"),
    [
        ({"s": ["a", "b"]}, {"name": "impute"}, "X121"),
        ({"s": ["a", "b"]}, {"name": "standardize", "columns": ["s"]}, "X122"),
        ({"a": [1.0, 2.0]}, {"name": "standardize", "columns": ["aa"]}, "X101"),
        ({"i": np.zeros((2, 3, 4, 4))}, {"name": "normalize", "mean": [0.0, 1.0], "std": [1.0, 1.0]}, "X122"),
        ({"i": np.zeros((2, 3))}, {"name": "resize", "columns": ["i"], "height": 2, "width": 2}, "X122"),
    ],
)
def test_says_what_does_not_fit_a_column(columns, step, code):
    with pytest.raises(TitrantError) as caught:
        inputs(columns, step)
    assert caught.value.diagnostics[0].code == code
    assert caught.value.diagnostics[0].help


def test_names_inputs_as_the_recipe_does():
    columns = {"a": np.zeros(2), "image": np.zeros((2, 3, 4, 4), np.uint8), "tokens": np.zeros((2, 5), np.int64)}
    assert wire(columns, ())[1] == {"features": "float32", "image": "float32", "tokens": "int64"}
    specs = [TensorParams(name=name, shape=("batch",), dtype="float32") for name in ("x", "y", "z")]
    with pytest.raises(RecipeError, match="nothing is called `x`, `y`, `z`"):
        wire(columns, specs)
    assert wire({"a": columns["a"]}, specs[:1])[0] == {"x": ("a",)}
    by_name = [TensorParams(name=name) for name in ("tokens", "features", "image")]
    assert wire(columns, by_name)[0]["features"] == ("a",)
    with pytest.raises(RecipeError, match="nothing is called `x`"):
        wire(columns, specs[:1])
    stated = {"x": ("a",), "y": "image", "z": "tokens"}
    assert wire(columns, specs, stated)[0] == {"x": ("a",), "y": ("image",), "z": ("tokens",)}


@given(st.floats(-1e6, 1e6), st.integers(1, 60), st.sampled_from([np.float64, np.float32]))
def test_makes_zeros_of_a_constant_column_and_no_other_value_of_it_huge(value, rows, dtype):
    """The mean of fifty times 3.7 is not 3.7: what rounding left was taken for the deviation."""
    [step] = fit([TransformStep(name="standardize")], {"a": np.full(rows, value, dtype)})
    held = dtype(value)
    served = apply_standardize(step, 0, np.array([held, held + dtype(1)]))
    np.testing.assert_allclose(served, [0, np.float64(held + dtype(1)) - np.float64(held)], rtol=1e-6)


@pytest.mark.parametrize(("step", "dtype"), [
    ({"name": "normalize", "mean": [0.5], "std": [0.5]}, "float32"), ({"name": "standardize"}, "float32"),
    ({"name": "resize", "height": 2, "width": 2}, "float32"), (None, "int64"),
])  # fmt: skip
@pytest.mark.parametrize("stored", [np.int16, np.uint16, np.int64])
def test_gives_whole_numbers_that_a_transform_takes_for_pixels_as_fractions(step, dtype, stored):
    """As radiographs of 16 bits are stored: without a transform they may be tokens."""
    pixels = np.arange(48, dtype=stored).reshape(3, 1, 4, 4)
    parts = RowSplit({"train": {"a": np.arange(3)}}, {"a": np.arange(3)})
    asked = DataTransformParams(task="unlabeled", transforms=[TransformStep(**step)] if step else [])
    rows, transforms = transform(asked, Tables({"a": Table({"image": pixels})}), parts)
    assert transforms.dtypes == {"image": dtype}
    assert rows["train"].inputs["image"].dtype == dtype
    stated = asked.model_copy(
        update={
            "model_inputs": (
                TensorParams(
                    name="image", shape=("batch", 1, *rows["train"].inputs["image"].shape[2:]), dtype="float64"
                ),
            )
        }
    )
    assert transform(stated, Tables({"a": Table({"image": pixels})}), parts)[1].dtypes == {"image": "float64"}


def test_refuses_to_round_what_should_be_whole():
    columns = {"code": np.array([0.0, 1.0, 2.5, 3.0])}
    wired = wire(columns, [TensorParams(name="code", shape=("batch",), dtype="int64")])
    with pytest.raises(TitrantError, match="1 of 4 rows have other numbers") as caught:
        apply(Transforms((), *wired[:2], unstacked=wired[2]), columns)
    assert caught.value.diagnostics[0].code == "X119"
    whole = apply(Transforms((), *wired[:2], unstacked=wired[2]), {"code": np.array([0.0, 3.0])})["code"]
    assert (whole.dtype, whole.tolist()) == (np.int64, [0, 3])


def test_refuses_numbers_beyond_what_the_model_takes():
    wired = wire({"pressure": np.zeros(2)}, [TensorParams(name="pressure", shape=("batch",), dtype="float32")])
    transforms = Transforms((), *wired[:2], unstacked=wired[2])
    with pytest.raises(TitrantError, match=r"pressure has numbers beyond 3\.4e\+38 in 1 of 2 rows") as caught:
        apply(transforms, {"pressure": np.array([1e300, 3e38])})
    assert caught.value.diagnostics[0].code == "X120"


def tables():
    generator = np.random.default_rng(0)
    n = 60
    columns = {
        "age": generator.integers(20, 90, n).astype(float), "sex": np.array(["f", "m"])[generator.integers(0, 2, n)],
        "patient": np.arange(n), "ill": generator.integers(0, 2, n),
    }  # fmt: skip
    return Tables({"source": Table(columns)})


def transformed(roles, **params):
    data = tables()
    parts = split(DataSplitParams(roles=roles, by="patient", label="ill"), data, seed=0)
    params = {"task": "binary_classification", "label": "ill", "by": "patient"} | params
    return data, parts, transform(DataTransformParams(**params), data, parts)


def test_makes_rows_for_every_role_with_labels_units_and_subgroups():
    data, parts, (rows, transforms) = transformed(
        {"train": {"source": 0.5}, "evaluation": {"source": 0.5}},
        transforms=[{"name": "one_hot"}, {"name": "standardize"}],
        positive=1,
        subgroups={"sex": {"column": "sex", "values": ["f", "m"]}},
    )
    train, evaluation = rows["train"], rows["evaluation"]
    assert (len(train), len(evaluation), len(rows["tuning"])) == (30, 30, 0)
    assert train.inputs["features"].shape == (30, 3)
    assert rows["tuning"].inputs["features"].shape == (0, 3)
    assert abs(train.inputs["features"][:, 0].mean()) < 1e-6
    assert (transforms.classes, train.positive) == (("0", "1"), 1)
    chosen = parts.roles["evaluation"]["source"]
    assert evaluation.labels.tolist() == data.sources["source"].columns["ill"][chosen].tolist()
    sexes = [evaluation.subgroup_values["sex"][number] for number in evaluation.subgroups["sex"]]
    assert sexes == data.sources["source"].columns["sex"][chosen].tolist()
    assert transforms.inputs == {"features": ("age", "sex")}
    raw = {name: column[chosen] for name, column in data.sources["source"].columns.items()}
    assert np.array_equal(apply(transforms, raw)["features"], evaluation.inputs["features"])


def test_fits_on_calibration_rows_where_there_are_no_train_rows():
    roles = {"calibration": {"source": 0.3}, "evaluation": {"source": 0.7}}
    steps = [{"name": "one_hot"}, {"name": "standardize"}]
    _, _, (rows, _) = transformed(roles, transforms=steps)
    assert abs(rows["calibration"].inputs["features"][:, 0].mean()) < 1e-6
    with pytest.raises(PreconditionError, match="no train or calibration rows"):
        transformed({"evaluation": {"source": 1.0}}, transforms=steps)


def test_compares_shapes_with_those_of_the_recipe():
    roles = {"evaluation": {"source": 1.0}}
    spec = {"name": "x", "shape": ["batch", 3], "dtype": "float32"}
    with pytest.raises(RecipeError, match=r"x is \(batch, 3\), and the data gives \(batch, 1\)"):
        transformed(roles, inputs=["age"], model_inputs=[spec])


def test_tells_infinite_values_from_missing_ones():
    for value, words in ((np.inf, "dose has infinite values"), (np.nan, "dose has missing values")):
        with pytest.raises(PreconditionError, match=words):
            fitted({"dose": [1.0, value]}, {"name": "standardize"})


def test_says_that_there_are_no_columns():
    transforms = fitted({"a": [0.0, 2.0]}, {"name": "standardize"})
    with pytest.raises(RecipeError, match=r"X101: the data has no column `a` \(it has none\)"):
        apply(transforms, {})

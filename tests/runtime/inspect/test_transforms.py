"""Inspection says on which rows transforms were fitted, and an error about columns which values they have seen."""

import numpy as np
import pytest

from titrant.runtime.inspect.transforms import describe_transforms, fitted_advice, pixel_notes
from titrant.runtime.operators.data.split import DataSplitParams, split
from titrant.runtime.operators.data.transform import DataTransformParams, transform
from titrant.runtime.values import RowSplit, Table, Tables
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.facts import DataFacts

ONE_HOT = {"name": "one_hot"}
GIVEN = {"name": "one_hot", "values": {"kind": ["p", "q"]}}


def tables():
    rows = 200
    kind = np.where(np.arange(rows) % 100 == 7, "rare", np.where(np.arange(rows) % 2, "p", "q"))
    return Tables({"source": Table({"n": np.arange(rows) * 1.0, "kind": kind, "y": np.arange(rows) % 2})})


def described(*steps, inputs=(), by=None):
    params = DataTransformParams.model_validate(
        {"task": "binary_classification", "label": "y", "transforms": steps, "model_inputs": inputs, "by": by}
    )
    loaded = tables()
    shares = {"calibration": {"source": 0.05}, "evaluation": {"source": 0.9}}
    roles = split(DataSplitParams(roles=shares), loaded, seed=0)
    rows, fitted = transform(params, loaded, roles)
    return describe_transforms(params, fitted, rows, loaded)


def facts(*transforms):
    return DataFacts("", 200, (), (), None, (), {}, transforms=transforms)


def test_says_which_rows_a_transform_was_fitted_on_and_what_it_saw():
    [one_hot, standardize] = described(ONE_HOT, {"name": "standardize"})
    assert (one_hot.origin, one_hot.role, one_hot.rows) == ("fitted", "calibration", 10)
    assert one_hot.values == {"kind": ("p", "q")}
    assert (standardize.name, standardize.columns) == ("standardize", ("n",))
    advice = fitted_advice(facts(one_hot))
    assert "10 calibration rows, where kind has p, q" in advice
    assert "one_hot: {values: {kind: […]}}" in advice


@pytest.mark.parametrize(("top", "dtype", "step", "noted"), [
    (255, np.float32, {"mean": [0.5], "std": [0.25]}, True), (4095, np.uint16, {"mean": [0.5], "std": [0.25]}, True),
    (255, np.float32, {"mean": [127.0], "std": [60.0], "scale": 255}, True),
    (1, np.float32, {"mean": [0.5], "std": [0.25]}, False),
    (255, np.uint8, {"mean": [0.5], "std": [0.25]}, False), (255, np.float32, {"mean": [127.0], "std": [60.0]}, False),
])  # fmt: skip
def test_notes_images_that_normalize_takes_for_fractions_and_that_are_none(top, dtype, step, noted):
    pixels = np.linspace(0, top, 3 * 16).reshape(3, 1, 4, 4).astype(dtype)
    params = DataTransformParams.model_validate({"task": "unlabeled", "transforms": [{"name": "normalize", **step}]})
    loaded, roles = (
        Tables({"a": Table({"image": pixels})}),
        RowSplit({"train": {"a": np.arange(3)}}, {"a": np.arange(3)}),
    )
    notes = pixel_notes(transform(params, loaded, roles)[1], loaded)
    assert [note.partition(": give")[0] for note in notes] == [
        f"image has numbers up to {top:,}, which `normalize` takes for fractions"
    ] * noted


def test_counts_what_given_values_leave_out_and_gives_no_advice_for_them():
    [one_hot] = described(GIVEN)
    assert (one_hot.origin, one_hot.role, one_hot.unlisted) == ("given", "", {"kind": 2})
    assert fitted_advice(facts(one_hot)) == ""
    assert fitted_advice(None) == ""


def test_names_the_values_that_were_seen_where_a_file_takes_more_columns():
    from titrant.runtime.data.parameters import TensorParams

    with pytest.raises(RecipeError, match="X126") as caught:
        described(ONE_HOT, inputs=(TensorParams(name="features", shape=("batch", 4)),))
    assert "where kind has p, q" in caught.value.diagnostics[0].help


def test_names_the_column_of_the_split_where_it_is_the_input_that_is_missing():
    from titrant.runtime.data.parameters import TensorParams

    with pytest.raises(RecipeError, match="X126") as caught:
        described(ONE_HOT, inputs=(TensorParams(name="features", shape=("batch", 3)),), by="n")
    assert "`n`, by which rows are split, is no input unless" in caught.value.diagnostics[0].help

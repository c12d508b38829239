"""Matching a model's inputs with columns: by name, by the recipe, and the question that is asked where nothing fits."""

import numpy as np
import pytest

from titrant.runtime.data.parameters import TensorParams
from titrant.runtime.data.wiring import ModelInput, Signature, check_names, match
from titrant.schema.diagnostics.diagnostics import RecipeError


def column():
    return np.zeros(4)


def array(*shape):
    return np.zeros((4, *(shape or (3,))))


def takes(*names, optional=(), **given):
    inputs = [ModelInput(name) for name in names] + [ModelInput(name, required=False) for name in optional]
    return Signature(tuple(inputs), **given)


@pytest.mark.parametrize(
    ("signature", "columns", "expected"),
    [
        # One input takes everything, whatever it is called: a column that has its name is one of many.
        (takes("x"), {"x": column(), "y": column()}, {"features": ("x", "y")}),
        (takes("x", renames=True), {"a": column(), "b": column()}, {"x": ("a", "b")}),
        (takes("x", renames=True), {"image": array()}, {"x": "image"}),
        (takes("x"), {"image": array()}, {"image": "image"}),
        # What may be left out is matched where an array has its name, or every column is an input of the model.
        (takes("x", optional=("mask",)), {"mask": array(), "x": array()}, {"x": "x", "mask": "mask"}),
        (takes("x", optional=("scale",)), {"scale": column(), "age": column()}, {"features": ("scale", "age")}),
        (takes("x", optional=("scale",)), {"scale": column(), "x": column()}, {"x": "x", "scale": "scale"}),
        # The model's order, not the data's.
        (takes("emb", "tab"), {"tab": array(), "emb": array()}, {"emb": "emb", "tab": "tab"}),
        (takes("x", "code"), {"code": column(), "x": array()}, {"x": "x", "code": "code"}),
        # Columns that no input is called after are stacked, where the model has an input for them.
        (takes("image", "features"), {"a": column(), "b": column(), "image": array(3, 4, 4)},
         {"image": "image", "features": ("a", "b")}),
        (takes(any_name=True), {"b": array(), "a": array()}, {"b": "b", "a": "a"}),
    ],
)  # fmt: skip
def test_matches_by_name(signature, columns, expected):
    matched = match(signature, columns)
    assert matched == expected
    assert list(matched) == list(expected)


@pytest.mark.parametrize(
    ("signature", "columns", "message", "line"),
    [
        (takes("emb", "tab"), {"text": array(), "tab": array()}, "nothing is called `emb`",
         "data: {inputs: {emb: text, tab: tab}}, if that is what it means"),
        (takes("emb", "tab"), {"a": array(), "b": array()}, "nothing is called `emb`, `tab`",
         "data: {inputs: {emb: …, tab: …}}"),
        (takes("image", "tabular"), {"age": column(), "sex": column(), "image": array(3, 4, 4)},
         "nothing is called `tabular`", "data: {inputs: {image: image, tabular: [age, sex]}}"),
        (takes("x"), {"x": array(), "other": array()}, "no input of the model takes `other`",
         "data: {inputs: {x: x}}"),
        (takes("x", optional=("mask",)), {"mask": array()}, "nothing is called `x`", "{x: …, mask: mask}"),
        (takes("Emb", "tab"), {"emb": array(), "tab": array()}, "nothing is called `Emb`", "Emb: emb"),
        (Signature((), named=False), {"a": array(), "b": array()}, "does not name its inputs",
         "data: {inputs: {a: a, b: b}}"),
    ],
)  # fmt: skip
def test_asks_where_a_name_has_no_match(signature, columns, message, line):
    with pytest.raises(RecipeError, match=message) as caught:
        match(signature, columns)
    assert caught.value.diagnostics[0].code == "X129"
    assert line in caught.value.diagnostics[0].help


def test_takes_the_recipes_word():
    columns = {"a": column(), "b": column(), "image": array()}
    stated = {"tab": ("a", "b"), "picture": "image"}
    assert match(takes("picture", "tab"), columns, stated) == {"picture": "image", "tab": ("a", "b")}
    assert match(takes("x"), columns, {"anything": ("a", "b")}) == {"anything": ("a", "b")}
    with pytest.raises(RecipeError, match="the model has no input `tub`") as caught:
        match(takes("picture", "tab"), columns, {"tub": ("a",), "picture": "image"})
    assert caught.value.diagnostics[0].help == "did you mean `tab`?"
    with pytest.raises(RecipeError, match="nothing is said of the model's input `tab`"):
        match(takes("picture", "tab"), columns, {"picture": "image"})


def test_compares_the_recipes_names_with_the_models():
    specs = [TensorParams(name=name, shape=("batch", 3)) for name in ("emb", "tap")]
    with pytest.raises(RecipeError, match=r"model\.inputs names `tap`") as caught:
        check_names(takes("emb", "tab"), specs)
    assert caught.value.diagnostics[0].help == "did you mean `tab`?"
    with pytest.raises(RecipeError, match="leaves out `third`"):
        check_names(takes("emb", "tap", "third"), specs)
    check_names(takes("other"), specs[:1])  # a lone input may be called anything

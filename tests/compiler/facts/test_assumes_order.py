"""Whether a recipe leaves open which output is which class."""

from types import SimpleNamespace

import pytest

from titrant.compiler.facts.load_steps import assumes_order, column_names
from titrant.schema.facts import Column, DataFacts
from titrant.schema.recipe.data import Data
from titrant.schema.recipe.model import Model

WEIGHTS, TRAINED_HERE = {"factory": "net:Net", "weights": "net.pt"}, {"factory": "net:Net"}
WORDS, DIGITS = ("bad", "good"), ("0", "1", "10")


def data_of(classes, dtype):
    columns = (Column("x", "float64"), Column("y", dtype))
    return DataFacts("d", 10, columns, classes, None, (), {})


@pytest.mark.parametrize(
    ("model", "classes", "dtype", "stated", "assumed"),
    [
        (WEIGHTS, WORDS, "text", None, True),
        ({"onnx": "net.onnx"}, WORDS, "text", None, True),
        (WEIGHTS, WORDS, "text", ["good", "bad"], False),
        (TRAINED_HERE, WORDS, "text", None, False),
        (WEIGHTS, DIGITS, "text", None, False),
        (WEIGHTS, ("false", "true"), "bool", None, False),
        (WEIGHTS, ("malignant", "benign"), "int64", None, False),  # numbers to which the source gives names
        (WEIGHTS, (), "text", None, False),
    ],
)
def test_asks_only_for_an_order_that_nobody_can_know(model, classes, dtype, stated, assumed):
    given = {"source": {"csv": "d.csv"}, "label": "y", **({"classes": tuple(stated)} if stated else {})}
    recipe = SimpleNamespace(data=Data.model_validate(given), model=Model.model_validate(model))
    assert assumes_order(recipe, data_of(classes, dtype)) is assumed


def test_calls_the_subfolders_of_images_a_label():
    given = Data.model_validate({"source": {"image_folder": "images"}})
    recipe = SimpleNamespace(data=given, model=Model.model_validate(WEIGHTS), task="multiclass_classification")
    assert column_names(recipe) == (None, "label")
    facts = DataFacts("d", 10, (Column("label", "text"),), WORDS, None, (), {})
    assert assumes_order(recipe, facts)
    assert column_names(SimpleNamespace(data=given, task="unlabeled")) == (None, None)

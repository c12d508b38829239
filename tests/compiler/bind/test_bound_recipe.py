"""What a child process finds wrong points at the recipe's own text."""

import pytest

from titrant.compiler.bind.bind import bind
from titrant.compiler.bind.bound_recipe import located
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.parse import parse

RECIPE = """\
titrant: 1
name: x
level: balanced
task: binary_classification
model: {onnx: net.onnx}
data:
  source: {sklearn: breast_cancer}
  label: target
  inputs: [mean_radius, agee]
"""


@pytest.fixture
def bound(tmp_path):
    (tmp_path / "net.onnx").touch()
    return bind(parse(RECIPE, "x.yaml", folder=tmp_path))


def place(bound, key):
    def ask():
        raise RecipeError(Diagnostic("X101", "the data has no column `agee`", key=key))

    with pytest.raises(RecipeError) as caught:
        located(bound, ask)
    where = caught.value.diagnostics[0].where
    return where.line, where.text[where.column - 1 :][: where.width], where.key


@pytest.mark.parametrize("key", ["data.inputs agee", "data agee"])
def test_points_at_the_item_of_a_list(bound, key):
    assert place(bound, key) == (9, "agee", "data.inputs[1]")


def test_points_at_the_key_whose_value_it_is_where_no_item_has_it(bound):
    assert place(bound, "data.inputs other") == (9, "[mean_radius, agee]", "data.inputs")
    assert place(bound, "data.label") == (8, "target", "data.label")

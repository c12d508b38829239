"""The plan says of every transform where its figures come from, and of a trained model that these are not its own."""

import importlib.util
from dataclasses import replace
from pathlib import Path

from titrant.compiler.decide.inputs import transforms
from titrant.compiler.decide.rule import Question
from titrant.schema.facts import TransformFacts

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

FITTED = TransformFacts("standardize", "fitted", "calibration", 50, ("age",))
TRAINED = case.RECIPE.replace("train: {epochs: 3}\n", "").replace(
    "factory: titrant.recipes.models:TabularNet", "factory: titrant.recipes.models:TabularNet\n  weights: included"
)


def answered(text, *facts):
    data = replace(case.DATA, transforms=facts)
    return transforms(Question(case.bound(text), case.VNNI, case.MODEL, data))


def test_says_on_which_rows_a_transform_was_fitted():
    [line] = answered(case.RECIPE, replace(FITTED, role="train", rows=284)).decisions
    assert (line.subject, line.chosen) == ("standardize", "fitted on the 284 train rows")
    assert line.because == "the model is trained on them"


def test_says_what_to_write_where_the_model_was_trained_elsewhere():
    [line] = answered(TRAINED, FITTED).decisions
    assert line.chosen == "fitted on the 50 calibration rows"
    assert "write {mean, std} of its training, or data.transform_from" in line.because
    assert line.rule == "transforms.fitted"


def test_counts_the_rows_with_a_value_that_the_given_ones_lack():
    given = TransformFacts("one_hot", "given", columns=("kind",), values={"kind": ("p", "q")}, unlisted={"kind": 5})
    answer = answered(TRAINED, given)
    [line] = answer.decisions
    assert line.chosen == "kind as given, kind: p, q"
    [warning] = answer.warnings
    assert "5 of" in warning
    assert "`kind`" in warning


def test_says_which_gaps_stay():
    [line] = answered(TRAINED, TransformFacts("impute", "kept", columns=("age", "lab"))).decisions
    assert (line.rule, line.chosen) == ("transforms.kept", "gaps of age, lab stay gaps")


def test_says_nothing_of_what_has_nothing_to_learn():
    assert answered(case.RECIPE, TransformFacts("normalize", "", columns=("age",))).decisions == ()

"""Reading outputs."""

from dataclasses import replace

import numpy as np
import pytest

from titrant.runtime.contract.answers import class_probabilities, read_answers, same_answers
from titrant.runtime.contract.reading import Reading
from titrant.runtime.values import Outputs
from titrant.schema.diagnostics.diagnostics import StepError

BINARY = Reading(task="binary_classification")
HALF = {"kind": "threshold", "threshold": 0.5}


def outputs(**arrays):
    return Outputs("tuning", {name: np.asarray(values, np.float32) for name, values in arrays.items()})


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_takes_one_logit_for_the_positive_class(rows, shape):
    found = class_probabilities(BINARY, rows([0, 1, 1]), outputs(y=np.reshape([-800.0, 0.0, np.log(3)], shape)))
    assert found[:, 1] == pytest.approx([0.0, 0.5, 0.75])
    assert found.sum(axis=1) == pytest.approx(1)


def test_follows_the_class_that_the_data_calls_positive(rows):
    first = rows([0, 1], positive=0)
    assert class_probabilities(BINARY, first, outputs(y=[5.0, -5.0]))[0, 0] > 0.9
    two = outputs(y=[[5.0, 0.0], [0.0, 5.0]])
    assert read_answers(BINARY, first, two, {"kind": "threshold", "threshold": 0.001}).decisions.tolist() == [0, 0]


def test_decides_at_the_operating_point(rows):
    scores = outputs(y=[0.0, 0.1, -0.1])
    reading = Reading(task="binary_classification", kinds={"y": "logits"})
    assert read_answers(reading, rows([0, 1, 1]), scores, HALF).decisions.tolist() == [1, 1, 0]
    high = {"kind": "threshold", "threshold": 0.52}
    assert read_answers(reading, rows([0, 1, 1]), scores, high).decisions.tolist() == [0, 1, 0]


def test_takes_the_largest_of_many_classes(rows):
    many = rows([0, 1, 2], classes=("a", "b", "c"), positive=None)
    reading = Reading(task="multiclass_classification", output="y")
    found = read_answers(reading, many, outputs(x=[0.0], y=np.eye(3) * 4), {"kind": "argmax", "threshold": None})
    assert found.decisions.tolist() == [0, 1, 2]
    assert found.probabilities[0, 0] == pytest.approx(np.exp(4) / (np.exp(4) + 2))


def test_takes_logarithms_of_probabilities_for_what_they_are(rows):
    reading = Reading(task="binary_classification", kinds={"y": "log_probabilities"})
    logarithms = np.log([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    given = rows([0, 1, 1])
    assert class_probabilities(reading, given, outputs(y=logarithms)) == pytest.approx(np.exp(logarithms))
    one = class_probabilities(reading, given, outputs(y=logarithms[:, 1:]))
    assert one == pytest.approx(np.exp(logarithms))
    assert read_answers(reading, given, outputs(y=logarithms), HALF).decisions.tolist() == [0, 1, 1]
    moved = outputs(y=logarithms * 1.5)
    assert same_answers(reading, given, outputs(y=logarithms), moved).all()


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (np.zeros((2, 1)), "logits", "has 2 rows, and there are 3 cases"),
        (np.zeros((3, 5)), "logits", "5 numbers a case for 2 classes"),
        (np.full((3, 1), 3.2), "probabilities", "outside 0..1"),
        (np.zeros((3, 2)), "values", "a class cannot be decided"),
    ],
)
def test_says_what_does_not_fit(rows, given, kind, words):
    reading = Reading(task="binary_classification", kinds={"y": kind})
    with pytest.raises(StepError, match=words):
        read_answers(reading, rows([0, 1, 1]), outputs(y=given), HALF)


def test_names_the_outputs_there_are_when_one_is_missing(rows):
    with pytest.raises(StepError, match="no output 'scores'; there are: y"):
        class_probabilities(replace_output("scores"), rows([0, 1]), outputs(y=[0.0, 1.0]))


def replace_output(name):
    return Reading(task="binary_classification", output=name)


def test_compares_values_within_a_relative_error_on_every_output(rows):
    reading = Reading(task="unlabeled")
    old = outputs(boxes=[[100.0, 0.0], [100.0, 0.0], [0.0, 0.0], [0.0, 0.0]], extra=[1.0, 1.0, 1.0, 1.0])
    new = outputs(boxes=[[100.9, 0.0], [100.0, 1.2], [0.0, 0.0], [0.0, 1e-3]], extra=[1.0, 1.0, 1.02, 1.0])
    four = replace(rows([0, 0, 0, 0]), labels=None)
    assert same_answers(reading, four, old, new).tolist() == [True, False, False, False]


def test_compares_classes_by_the_largest_entry_everywhere(rows):
    reading = Reading(task="unlabeled", kinds={"mask": "logits"})
    old = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    new = old + 0.001
    new[1, 2] = np.roll(new[1, 2], 1)
    assert same_answers(reading, rows([0, 0]), outputs(mask=old), outputs(mask=new)).tolist() == [True, False]


def test_refuses_outputs_of_other_names_or_shapes(rows):
    reading = Reading(task="unlabeled")
    with pytest.raises(StepError, match="outputs z instead of y"):
        same_answers(reading, rows([0]), outputs(y=[1.0]), outputs(z=[1.0]))
    with pytest.raises(StepError, match="shape"):
        same_answers(reading, rows([0]), outputs(y=[[1.0]]), outputs(y=[[1.0, 2.0]]))

"""validate.operating_point: where a score becomes a decision."""

import numpy as np
import pytest

from titrant.runtime.contract.answers import read_answers
from titrant.runtime.contract.reading import Reading
from titrant.runtime.values import Outputs
from titrant.schema.diagnostics.diagnostics import StepError

BINARY = {"task": "binary_classification", "kinds": {"y": "probabilities"}}


def inputs(rows, scores, labels):
    scores = np.asarray(scores, np.float32)
    return {"rows": rows(count=len(scores), labels=labels), "outputs": Outputs("tuning", {"y": scores})}


def test_takes_the_threshold_that_is_asked_for_or_one_half(rows, apply):
    given = inputs(rows, [0.2, 0.8], [0, 1])
    assert apply("validate.operating_point", given, BINARY).outputs["point"]["threshold"] == 0.5
    asked = apply("validate.operating_point", given, {**BINARY, "threshold": 0.3}).outputs["point"]
    assert (asked["kind"], asked["threshold"]) == ("threshold", 0.3)


@pytest.mark.parametrize(("sensitivity", "caught"), [(0.5, 10), (0.9, 18), (0.91, 19), (0.99, 20), (1.0, 20)])
def test_takes_the_largest_threshold_that_reaches_the_sensitivity(rows, apply, sensitivity, caught):
    labels = np.repeat([0, 1], 20)
    given = inputs(rows, np.random.default_rng(0).random(40), labels)
    point = apply("validate.operating_point", given, {**BINARY, "sensitivity": sensitivity}).outputs["point"]

    def reached(threshold):
        decided = read_answers(Reading(**BINARY), given["rows"], given["outputs"], {**point, "threshold": threshold})
        return int((decided.decisions[labels == 1] == 1).sum())

    assert reached(point["threshold"]) == caught >= sensitivity * 20
    assert reached(point["threshold"] + 1e-9) < caught


def test_takes_the_largest_score_of_several_classes(rows, apply):
    given = inputs(rows, np.eye(2), [0, 1])
    point = apply("validate.operating_point", given, {"task": "multiclass_classification"}).outputs["point"]
    assert (point["kind"], point["threshold"]) == ("argmax", None)


def test_refuses_a_sensitivity_without_two_classes_or_without_positive_rows(rows, apply):
    given = inputs(rows, np.eye(2), [0, 0])
    with pytest.raises(StepError, match="X410"):
        apply("validate.operating_point", given, {"task": "multiclass_classification", "sensitivity": 0.9})
    with pytest.raises(StepError, match="X411"):
        apply("validate.operating_point", given, {**BINARY, "sensitivity": 0.9})

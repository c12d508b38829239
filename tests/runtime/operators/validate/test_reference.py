"""validate.reference: an original whose answers make it unfit to be compared with is refused."""

import numpy as np
import pytest

from titrant.runtime.values import Outputs
from titrant.schema.diagnostics.diagnostics import RecipeError

READING = {"task": "binary_classification"}
DRAWN = np.random.default_rng(0).normal(size=(40, 1))


@pytest.fixture
def refer(apply):
    """Give the original's answers to the operator."""

    def refer(values, **params):
        outputs = Outputs("tuning", {"y": np.asarray(values, np.float32)})
        return apply("validate.reference", {"outputs": outputs}, READING | params).outputs["reference"]

    return refer


def test_refuses_a_sigmoid_that_is_read_as_logits_with_the_line_to_write(refer):
    with pytest.raises(
        RecipeError, match=r"X423: the output 'y' is read as logits.*all of 40 rows lie in 0..1"
    ) as caught:
        refer(1 / (1 + np.exp(-DRAWN)))
    assert caught.value.diagnostics[0].help == "model: {output: {kind: probabilities}}"
    assert caught.value.diagnostics[0].key == "model.output"


def test_refuses_logits_that_are_said_to_be_probabilities(refer):
    with pytest.raises(
        RecipeError, match=r"read as probabilities, which its answers are not: they lie between -"
    ) as caught:
        refer(DRAWN, kinds={"y": "probabilities"})
    assert caught.value.diagnostics[0].help == "model: {output: {name: y, kind: logits}}"


def test_says_what_answers_were_taken_for(refer):
    assert refer(DRAWN) == {"rows": 40, "kinds": {"y": "logits"}}

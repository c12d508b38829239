"""validate.reference: an original whose answers make it unfit to be compared with is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.metrics import compare_with_constant
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError

READING = {"task": "binary_classification"}
DRAWN = np.random.default_rng(0).normal(size=(40, 1))
RIGHT = (DRAWN[:, 0] > 0).astype(np.int64)
HALF = {"kind": "threshold", "threshold": 0.5, "source": ""}


@pytest.fixture
def refer(apply, rows):
    """Give the original's answers to the operator."""

    def refer(values, labels=RIGHT, *, point=HALF, positive=1, ordered=False, **params):
        values = np.asarray(values, np.float32)
        given = replace(rows(4, count=len(values), labels=labels), positive=positive, ordered=ordered)
        inputs = {"rows": given, "outputs": Outputs("tuning", {"y": values}), "point": point}
        return apply("validate.reference", inputs, READING | params).outputs["reference"]

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


def test_says_what_answers_were_taken_for_and_what_a_constant_answer_gives(refer):
    constant = {
        "metric": "balanced_accuracy", "original": 1.0, "constant": 0.5, "answer": "a" if RIGHT.mean() <= 0.5 else "b",
        "rows": 40, "decides_one": False,
    }  # fmt: skip
    assert refer(DRAWN) == {"rows": 40, "kinds": {"y": "logits"}, "constant": constant}


def test_refuses_answers_that_are_turned_round_with_both_figures(refer):
    with pytest.raises(StepError, match=r"X424.*its balanced accuracy on 40 tuning rows is 0.0000, and.*gives 0.5000"):
        refer(-DRAWN)
    argmax = {"kind": "argmax", "threshold": None, "source": ""}
    share = max(RIGHT.mean(), 1 - RIGHT.mean())
    with pytest.raises(StepError, match=rf"its accuracy on 40 tuning rows is 0.0000, and.*gives {share:.4f}"):
        refer(np.concatenate([DRAWN, -DRAWN], axis=1), point=argmax, positive=None)


@pytest.mark.parametrize(("positive", "stated"), [(1, "[b, a]"), (0, "[a, b]")])
def test_names_the_order_in_which_one_number_fits(refer, positive, stated):
    with pytest.raises(StepError, match="X424") as caught:
        refer(DRAWN if positive == 0 else -DRAWN, positive=positive)
    advice = caught.value.diagnostics[0].help
    assert advice.startswith(f"with the classes in the order {stated} its accuracy on these rows is 1.0000: ")
    assert advice.endswith(f"data: {{classes: {stated}}}")
    assert refer(DRAWN, positive=0, ordered=True)["constant"]["original"] == 1  # the second of a stated order


def test_advises_another_operating_point_where_all_rows_are_answered_alike(refer):
    with pytest.raises(StepError, match="X424") as caught:
        refer(DRAWN, point={**HALF, "threshold": 0.999})
    assert "the operating point 0.999 it answers all rows alike" in caught.value.diagnostics[0].help


def test_lets_a_screening_model_be_that_is_right_less_often_than_always_no(refer):
    labels = np.zeros(40, np.int64)
    labels[:2] = 1
    logits = np.where(np.arange(40) < 10, 3.0, -3.0)[:, None]  # 2 caught, 8 false alarms: accuracy .80, always no .95
    assert refer(logits, labels)["constant"]["original"] > 0.8


@pytest.mark.parametrize(("count", "labels"), [(9, [0, 1, 0, 1, 0, 1, 0, 1, 0]), (12, [0] * 12)])
def test_says_nothing_where_the_rows_cannot_tell(refer, count, labels):
    assert refer(np.linspace(-1, 2, count)[:, None], labels)["constant"] is None


def test_asks_which_output_is_which_class_of_a_model_that_was_trained_elsewhere(refer):
    both = np.concatenate([DRAWN, -DRAWN], axis=1)
    with pytest.raises(
        RecipeError, match=r"X425.*\[a, b\], its accuracy on 40.* is 0.0000, in the order \[b, a\] 1.0"
    ) as no:
        refer(both, assumed_order=True)
    assert no.value.diagnostics[0].help == "data: {classes: [b, a]}"
    with pytest.raises(RecipeError, match=r"is 1.0000, and no order fits better"):
        refer(-both, assumed_order=True)
    assert refer(-both, assumed_order=False)["constant"]["original"] == 1
    assert refer(DRAWN, assumed_order=True)["constant"]["original"] == 1  # one number is about the positive class
    with pytest.raises(RecipeError, match="X425"):
        refer(DRAWN, assumed_order=True, positive=None, point={"kind": "argmax", "threshold": None, "source": ""})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 999), count=st.integers(10, 200), classes=st.integers(2, 6), positive=st.booleans())
def test_never_takes_a_constant_answer_for_better_than_the_best_one(seed, count, classes, positive):
    drawn = np.random.default_rng(seed)
    classes = 2 if positive else classes
    labels = drawn.choice(classes, size=count, p=drawn.dirichlet(np.ones(classes)))
    numbers = np.arange(count)
    names = tuple("abcdef"[:classes])
    rows = Rows("tuning", {}, labels, numbers, numbers.astype(np.uint64), names, 1 if positive else None)
    figures = [
        compare_with_constant(Answers(np.eye(classes)[np.full(count, one)], np.full(count, one)), rows)
        for one in range(classes)
    ]
    if len(np.unique(labels)) < 2:
        assert figures == [None] * classes
        return
    assert all(figure.original <= figure.constant for figure in figures)
    assert any(figure.original == pytest.approx(figure.constant) for figure in figures)
    right = compare_with_constant(Answers(np.eye(classes)[labels], labels), rows)
    assert right.original > right.constant

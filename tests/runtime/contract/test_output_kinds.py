"""What answers can be, told from the answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.contract.output_kinds import FEWEST_ROWS, contradiction, mismatches
from titrant.runtime.contract.reading import Reading
from titrant.runtime.values import Outputs

TO = {
    "logits": lambda z: z,
    "probabilities": lambda z: 1 / (1 + np.exp(-z)) if z.shape[1] == 1 else softmax(z),
    "log_probabilities": lambda z: np.log(softmax(z)),
}
STORED = {
    "float32": lambda values: values.astype(np.float32),
    "float16": lambda values: values.astype(np.float16).astype(np.float32),
    "steps of 1/256": lambda values: np.round(values * 256) / np.float32(256),
}


def softmax(z):
    scores = np.exp(z - z.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def scores(seed, rows, columns, spread):
    drawn = np.random.default_rng(seed).normal(size=(rows, columns)) * spread
    # A model of logits decides for either side sometimes.
    drawn[0], drawn[1] = np.linspace(2, -2, columns), np.linspace(-2, 2, columns) - 0.5
    return drawn


def found(said, values, task="multiclass_classification"):
    reading = Reading(task=task, kinds={"y": said})
    return list(mismatches(reading, "y", Outputs("tuning", {"y": values.astype(np.float32)})))


DRAWS = st.builds(
    scores, st.integers(0, 99), st.integers(FEWEST_ROWS, 80), st.integers(2, 40), st.sampled_from([0.1, 1.0, 5.0])
)


@given(
    drawn=DRAWS,
    stored=st.sampled_from(sorted(STORED)),
    real=st.sampled_from(sorted(TO)),
    said=st.sampled_from(sorted(TO)),
)
def test_knows_each_kind_of_several_columns_from_the_others(drawn, stored, real, said):
    if stored == "steps of 1/256" and real != "probabilities":
        stored = "float32"
    values = STORED[stored](TO[real](drawn))
    answer = found(said, values)
    assert [mismatch.looks for mismatch in answer] == ([] if real == said else [real])


@given(seed=st.integers(0, 99), rows=st.integers(FEWEST_ROWS, 80), spread=st.sampled_from([0.1, 1.0, 5.0]),
       stored=st.sampled_from(sorted(STORED)))  # fmt: skip
def test_knows_a_column_of_probabilities_from_logits(seed, rows, spread, stored):
    column = scores(seed, rows, 1, spread)
    probabilities = STORED[stored](TO["probabilities"](column))
    assert [mismatch.looks for mismatch in found("logits", probabilities)] == ["probabilities"]
    assert found("probabilities", probabilities) == []
    assert found("logits", column) == []
    assert [mismatch.looks for mismatch in found("probabilities", column)] == ["logits"]


def test_says_nothing_of_a_column_of_few_rows():
    few = np.full((FEWEST_ROWS - 1, 1), 0.3)
    assert found("logits", few) == []
    assert found("logits", np.full((FEWEST_ROWS, 1), 0.3)) != []


def test_takes_an_array_without_columns_for_one_column():
    assert [mismatch.looks for mismatch in found("logits", np.full(12, 0.3))] == ["probabilities"]


def test_lets_logits_be_that_are_all_negative_or_never_sum_to_one():
    assert contradiction("logits", np.full((30, 1), -3.0)) == ""
    assert contradiction("logits", np.full((30, 3), 0.9)) == ""


def test_says_what_was_seen_and_no_row():
    assert (
        contradiction("probabilities", np.array([[0.2, 0.2], [0.6, 0.9]])) == "they sum to between 0.4 and 1.5 in a row"
    )
    assert contradiction("probabilities", np.array([[-3.0], [2.5]])) == "they lie between -3 and 2.5"
    assert "up to 0.5" in contradiction("log_probabilities", np.array([[-3.0], [0.5]]))
    assert found("probabilities", np.array([[0.2, 0.2], [0.6, 0.9]]))[0].looks is None


@pytest.mark.parametrize("said", ["values", "embedding"])
def test_asks_nothing_of_other_kinds(said):
    assert found(said, np.full((30, 2), 0.5), task="unlabeled") == []


def test_looks_at_the_judged_output_and_at_those_whose_kind_is_written():
    both = Outputs("tuning", {"y": np.full((30, 1), 2.0), "z": np.full((30, 1), 0.5)})
    reading = Reading(task="binary_classification", output="y")
    assert list(mismatches(reading, "y", both)) == []
    assert [item.output for item in mismatches(reading.model_copy(update={"kinds": {"z": "logits"}}), "y", both)] == [
        "z"
    ]


@given(st.integers(0, 99), st.integers(FEWEST_ROWS, 60), st.integers(2, 12), st.sampled_from(sorted(STORED)))
def test_tells_a_sigmoid_for_each_class_from_logits_and_probabilities(seed, rows, columns, stored):
    values = STORED[stored](1 / (1 + np.exp(-scores(seed, rows, columns, 2.0))))
    for said in ("logits", "probabilities"):
        (mismatch,) = found(said, values)
        assert mismatch.looks is None
        assert "sum to between" in mismatch.seen


def test_says_nothing_of_a_few_logits_that_lie_in_the_range_by_chance():
    assert found("logits", np.full((FEWEST_ROWS - 1, 3), 0.5)) == []
    assert found("logits", scores(3, 40, 3, 1.0)) == []

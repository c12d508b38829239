"""Recurrent state in inspection: what does not fit is refused at its key; what fits says steps, zeros, answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.data.parameters import StateParams
from titrant.runtime.inspect.recurrent import answers_of, described_state, one_step
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.facts import TensorSpec

AUDIO = TensorSpec("audio", ("batch", 64), "float32")
RATE = TensorSpec("rate", (), "int64")
STATE = TensorSpec("h", (2, "n", 8), "float32")
SCORE = TensorSpec("score", ("batch", 1), "float32")
NEXT = TensorSpec("hn", (2, "n", 8), "float32")


def described(feeds, *, inputs=(AUDIO, RATE, STATE), outputs=(SCORE, NEXT), answer="last"):
    return described_state(StateParams(feeds=feeds, answer=answer), inputs, outputs, 5)


def refused(code, call):
    with pytest.raises(RecipeError) as caught:
        call()
    (finding,) = caught.value.diagnostics
    assert finding.code == code
    assert finding.key.startswith("model.")
    assert finding.help
    return finding


def test_calls_the_one_free_size_of_a_state_the_batch():
    state = described({"hn": "h"})
    assert state.zeros == (TensorSpec("h", (2, "batch", 8), "float32"),)
    assert (state.feeds, state.steps, state.outputs) == ((("hn", "h"),), 5, ("score", "hn"))


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({"h": "hn"}, "no output `h`"),
        ({"hn": "state"}, "no input `state`"),
        ({"score": "h"}, "is (batch, 1) float32, and the input `h` takes (2, n, 8) float32"),
        ({"hn": "rate"}, "the input `rate` takes () int64"),
        ({"hn": "h", "score": "audio"}, "and the input `audio` takes (batch, 64)"),
    ],
)
def test_refuses_names_and_shapes_that_are_not_the_models(feeds, words):
    assert words in refused("X166", lambda: described(feeds)).message


def test_refuses_two_outputs_for_one_input_and_a_model_of_nothing_but_state():
    other = TensorSpec("other", (2, "n", 8), "float32")
    outputs = (SCORE, NEXT, other)
    refused("X166", lambda: described({"hn": "h", "other": "h"}, outputs=outputs))
    assert "nothing is left to judge" in refused("X166", lambda: described({"hn": "h"}, outputs=(NEXT,))).message


def test_refuses_a_state_with_more_than_the_batch_free():
    free = TensorSpec("h", ("layers", "batch", 8), "float32")
    finding = refused("X166", lambda: described({"hn": "h"}, inputs=(AUDIO, free)))
    assert "2 sizes are free" in finding.message
    assert "shape: [layers, batch, 8]" in finding.help


def test_another_type_is_no_state():
    half = TensorSpec("hn", (2, "n", 8), "float16")
    refused("X166", lambda: described({"hn": "h"}, outputs=(SCORE, half)))


def test_keeps_the_answers_of_all_steps_on_an_axis_of_their_own():
    assert answers_of((SCORE, NEXT), described({"hn": "h"})) == (SCORE,)
    kept = answers_of((SCORE, NEXT), described({"hn": "h"}, answer="steps"))
    assert kept == (TensorSpec("score", ("batch", 5, 1), "float32"),)


def data(shape, name="audio", dtype="float32"):
    return TensorSpec(name, ("batch", *shape), dtype)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((data((640,)), data((3, 8), "voice")), "differ in their steps"),
        ((data((650,)), data((8,), "voice")), "a step of `audio` is (batch, 64)"),
        ((data((10, 65)), data((8,), "voice")), "a case of the data is (batch, 10, 65)"),
        ((data((64,)), data((8,), "voice")), "a case is one step"),
        ((data((1, 64)), data((8,), "voice")), "a case is one step"),
        ((data((640,), dtype="int64"), data((8,), "voice")), "int64"),
        ((data((640,)),), "the model takes `voice`"),
    ],
)
def test_refuses_cases_that_are_not_made_of_whole_steps(given, words):
    specs = (AUDIO, TensorSpec("voice", ("batch", 8), "float32"))
    assert words in refused("X167", lambda: one_step(specs, given)).message


def test_names_the_lengths_that_hold_whole_steps():
    assert "640 or 704" in refused("X167", lambda: one_step((AUDIO,), (data((650,)),))).help


@given(
    step=st.integers(2, 9), steps=st.integers(1, 6), rest=st.lists(st.integers(1, 3), max_size=2), axis=st.booleans()
)
def test_takes_what_is_whole_steps_and_refuses_the_rest(step, steps, rest, axis):
    spec = TensorSpec("x", ("batch", step, *rest), "float32")
    case = (steps, step, *rest) if axis else (steps * step, *rest)
    if steps == 1:
        refused("X167", lambda: one_step((spec,), (data(case, "x"),)))
        return
    sized, count = one_step((spec, RATE), (data(case, "x"), RATE))
    assert (sized, count) == ((spec, RATE), steps)
    longer = (*case[:-1], case[-1] + 1) if axis or rest else (case[0] + 1,)
    refused("X167", lambda: one_step((spec,), (data(longer, "x"),)))


def test_sizes_what_a_file_leaves_free_by_the_data():
    free = TensorSpec("x", ("batch", 4, "bands"), "float32")
    sized, count = one_step((free,), (data((3, 4, 7), "x"),))
    assert (sized[0].shape, count) == (("batch", 4, 7), 3)


def test_writes_state_as_it_reads_it():
    params = StateParams(feeds={"hn": "h"}, answer="steps", inputs=({"name": "audio", "shape": ("batch", 64)},))
    assert StateParams.model_validate_json(json.dumps(params.model_dump(mode="json"))) == params

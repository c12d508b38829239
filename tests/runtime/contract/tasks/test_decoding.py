"""The user's function from raw outputs to boxes: what it gets, and what of its answers is refused."""

import sys
from types import ModuleType

import numpy as np
import pytest

from titrant.runtime.contract.tasks import decoding
from titrant.runtime.contract.tasks.decoding import decode_rows
from titrant.schema.diagnostics.diagnostics import StepError

RAW = {"scores": np.array([[0.9, 0.2], [0.8, 0.1]], np.float32), "corners": np.zeros((2, 2, 4), np.float32)}


@pytest.fixture
def decoded(monkeypatch):
    """Return a function that decodes raw outputs with another one, as if it were a user's."""

    def run(function, arrays=RAW, size=(20, 30)):
        module = ModuleType("drawn")
        module.boxes = function
        monkeypatch.setitem(sys.modules, "drawn", module)
        return decode_rows("drawn:boxes", arrays, size)[0]

    return run


def one_box(*box, score=0.5, label=0):
    return lambda outputs: ([box], [score], [label])


def test_each_case_is_decoded_from_its_own_outputs(decoded):
    shapes = []

    def boxes(outputs):
        shapes.append({name: values.shape for name, values in outputs.items()})
        outputs["corners"][:] = 7  # what it writes stays its own
        keep = outputs["scores"] > 0.15
        return np.tile([1, 2, 3, 4], (keep.sum(), 1)), outputs["scores"][keep], np.flatnonzero(keep)

    answers = decoded(boxes)
    assert shapes[0] == {"scores": (2,), "corners": (2, 4)}
    assert answers.dtype == np.float32
    assert answers.shape == (2, 2, 6)
    np.testing.assert_allclose(answers[0], [[1, 2, 3, 4, 0.9, 0], [1, 2, 3, 4, 0.2, 1]], atol=1e-6)
    assert answers[1, 1].tolist() == [-1] * 6
    assert not RAW["corners"].any()


def test_boxes_are_cut_at_the_edges_and_inverted_ones_have_no_area(decoded):
    boxes = [[-5, -5, 10, 10], [25, 15, 40, 40], [0, 0, 4, 4], [8, 8, 2, 6]]
    answers = decoded(lambda outputs: (boxes, [0.5] * 4, [0] * 4))
    assert answers[0, :, :4].tolist() == [[0, 0, 10, 10], [25, 15, 30, 20], [0, 0, 4, 4], [8, 8, 8, 8]]


def test_keeps_the_300_surest_boxes_of_a_case(decoded):
    scores = np.linspace(0.1, 0.9, 400)
    answers = decoded(lambda outputs: (np.tile([1, 2, 3, 4], (400, 1)), scores, np.zeros(400)))
    assert answers.shape == (2, 300, 6)
    np.testing.assert_allclose(np.sort(answers[0, :, 4]), scores[100:], atol=1e-6)


def test_no_box_at_all_is_an_answer(decoded):
    assert (decoded(lambda outputs: ([], [], [])) == -1).all()


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        (lambda outputs: 1 / 0, "X108", "ZeroDivisionError"),
        (lambda outputs: None, "X648", "a NoneType"),
        (lambda outputs: ([[1, 2, 3, 4]], [0.5]), "X648", "a tuple"),
        (one_box(1, 2, 3), "X648", r"the shapes \(1, 3\)"),
        (lambda outputs: ([[1, 2, 3, 4]], [0.5, 0.4], [0, 0]), "X648", "the shapes"),
        (one_box(1, 2, np.nan, 4), "X648", "not finite"),
        (one_box(1, 2, 3, 4, score=7.5), "X648", "scores from 7.5 to 7.5"),
        (one_box(1, 2, 3, 4, label=0.5), "X648", "no class numbers"),
        (one_box(1, 2, 3, 4, label=-1), "X648", "no class numbers"),
        (one_box(10, 10, 4, 4), "X648", "1 of 1 boxes that end before they begin"),
    ],
)
def test_what_is_no_boxes_is_refused(decoded, function, code, words):
    with pytest.raises(StepError, match=words) as caught:
        decoded(function)
    assert caught.value.diagnostics[0].code == code


def test_what_is_random_or_remembers_is_refused(decoded):
    generator, calls = np.random.default_rng(0), []
    for function in (
        lambda outputs: ([[0, 0, 4, 4]], [generator.random()], [0]),
        lambda outputs: (calls.append(1), ([[0, 0, 4, len(calls)]], [0.5], [0]))[1],
    ):
        with pytest.raises(StepError, match="other boxes when it was called again") as caught:
            decoded(function)
        assert caught.value.diagnostics[0].code == "X649"


def test_a_slow_function_is_told(monkeypatch, apply_decode):
    monkeypatch.setattr(decoding, "SLOW_SECONDS", 0.0)
    notes = apply_decode()
    assert any("ms a case" in note for note in notes)


@pytest.fixture
def apply_decode(decoded):
    """Return a function that runs the operator and gives what it noted."""
    from types import SimpleNamespace

    from titrant.runtime.operators.validate.decode import DecodeParams, validate_decode
    from titrant.runtime.values import Outputs, Rows

    def run():
        decoded(one_box(1, 2, 3, 4))
        notes, none = [], np.zeros(2, np.int64)
        context = SimpleNamespace(progress=lambda *_: None, measure=lambda *_: None, note=notes.append)
        rows = Rows("tuning", {"image": np.zeros((2, 1, 20, 30))}, None, none, none.astype(np.uint64))
        made = validate_decode(DecodeParams(decode="drawn:boxes"), context, outputs=Outputs("tuning", RAW), rows=rows)
        assert made["outputs"].arrays["boxes"].shape == (2, 1, 6)
        return notes

    return run

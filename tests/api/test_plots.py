"""Pictures of what a program has: curves, attention, models side by side."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import mlx.core as mx
import numpy as np
import pytest
import torch  # noqa: TID253 - arrays of the tests

import titrant

WEIGHTS = np.full((2, 3, 3), 1 / 3)


def texts(picture):
    return [element.text for element in ElementTree.fromstring(picture.svg).iter("text") if element.text]


@pytest.mark.parametrize(
    "weights",
    [
        WEIGHTS[0],
        WEIGHTS,
        WEIGHTS[None],
        torch.tensor(WEIGHTS).half(),
        mx.array(WEIGHTS, mx.bfloat16),
        WEIGHTS.tolist(),
    ],
)
def test_draws_attention_of_every_library_and_shape(weights):
    found = texts(titrant.plots.attention(weights, ["the", "", "cough"]))
    assert found.count("cough") == 2
    assert not [text for text in found if "sum" in text]


def test_draws_heads_averaged_or_one_by_one():
    weights = np.stack([np.eye(3), np.full((3, 3), 1 / 3)])
    assert "Attention: mean of 2 heads" in texts(titrant.plots.attention(weights))
    assert "0.667" in texts(titrant.plots.attention(weights))
    assert {"head 0", "head 1"} <= set(texts(titrant.plots.attention(weights, heads="each")))
    assert "0.333" in texts(titrant.plots.attention(weights, heads=1))
    many = titrant.plots.attention(np.full((70, 2, 2), 0.5), heads="each")
    assert "the first 64 of 70 heads" in texts(many)


def test_says_which_rows_are_no_shares():
    weights = WEIGHTS.copy()
    weights[0, 0] = 1.0
    weights[1, 2] = 0.0  # padding
    weights[1, 1, 0] = np.nan
    found = texts(titrant.plots.attention(weights))
    assert "1 of 6 rows do not sum to 1 but to 3: no softmax made them" in found
    assert "1 of 6 rows hold NaN or infinity" in found


def test_averages_what_is_too_long_to_be_seen():
    picture = titrant.plots.attention(np.full((500, 500), 0.002))
    assert "each cell is the mean over 4 × 4 places" in texts(picture)
    assert {"0", "400"} <= set(texts(picture))


def test_labels_the_columns_of_another_sequence():
    found = texts(titrant.plots.attention(np.full((2, 3), 1 / 3), ["a", "b"], keys=["x", "y", "z"]))
    assert {"a", "b", "x", "y", "z"} <= set(found)


@pytest.mark.parametrize(
    ("weights", "more", "words"),
    [
        (np.ones(3), {}, r"are \(seq, seq\), .* and these are \(3\)"),
        (np.ones((2, 3)), {}, r"these are \(2, 3\): name the columns"),
        (np.ones((1, 1, 1, 2, 2)), {}, "these are"),
        (np.ones((0, 0)), {}, "these are"),
        ("text", {}, "a str is no array of numbers"),
        (torch.empty(2, 2, device="meta"), {}, "on the meta device"),
        (WEIGHTS, {"tokens": ["a"]}, "one text for each of the 3 places, and 1 was given"),
        (WEIGHTS, {"tokens": "abc"}, "and a text was given"),
        (WEIGHTS, {"heads": 2}, "there is no head 2: the 2 are numbered from 0"),
        (WEIGHTS, {"heads": "all"}, "heads are 'mean', 'each' or the number of one, not 'all'"),
        (WEIGHTS, {"case": 1}, "there is no case 1"),
        (WEIGHTS[None], {"case": -1}, "there is no case -1 in a batch of 1"),
    ],
)
def test_refuses_attention_of_another_shape(weights, more, words):
    with pytest.raises(ValueError, match=words):
        titrant.plots.attention(weights, **more)


def test_draws_a_panel_for_each_measure():
    found = texts(
        titrant.plots.curves({"loss": {"train": [3, None, 1], "tuning": torch.ones(2)}, "rate": mx.ones(4), "none": []})
    )
    assert {"loss", "train", "tuning", "rate", "left out: 1 NaN or infinite"} <= set(found)
    assert "none" not in found


def test_draws_what_fit_saw():
    batches = [(torch.randn(8, 2), torch.randint(2, (8,))) for _ in range(2)]
    settings = titrant.train.TrainingSettings(epochs=3)
    fitted = titrant.train.fit(torch.nn.Linear(2, 2), batches, tuning=batches, settings=settings)
    for source in (fitted, fitted.curves):
        found = texts(titrant.plots.curves(source, log=True))
        assert {"loss (logarithmic)", "training", "tuning", "accuracy (logarithmic)"} <= set(found)
        assert any("which was kept" in text for text in found)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({}, "every list is empty"),
        ({"x": []}, "every list is empty"),
        ({"x": "text"}, "x is a str, and no list of numbers"),
        ({"x": {"y": [[1, 2], [3, 4]]}}, "x: y has 2 dimensions"),
        ({"x": {str(number): [1] for number in range(13)}}, "13 lines cannot be told apart"),
        ({str(number): [1] for number in range(25)}, "25 panels cannot be seen"),
        (3, "curves are a run, a result of fit or a mapping of lists, not a int"),
    ],
)
def test_refuses_what_holds_no_curves(source, words):
    with pytest.raises(ValueError, match=words):
        titrant.plots.curves(source)


def test_draws_models_side_by_side():
    picture = titrant.plots.compare({"a": {"accuracy": 0.9, "ms": torch.tensor(3.0)}, "b": {"accuracy": 0.8}})
    assert texts(picture) == ["Models side by side", "accuracy", "a", "0.9", "b", "0.8", "ms", "a", "3", "b", "–"]


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({}, "there is nothing to compare"),
        ({"a": {}}, "there is nothing to compare"),
        ({"a": 3}, "a: figures are a mapping"),
        ({"a": {"x": [1, 2]}}, "x of a holds 2 numbers: give one"),
        ({"a": {"x": "fast"}}, "x of a is a str, and no number"),
        ("latest", "a list of runs, not a text"),
        ([1, 2], "a run is its name or folder, not a int"),
    ],
)
def test_refuses_what_cannot_be_compared(models, words):
    with pytest.raises(ValueError, match=words):
        titrant.plots.compare(models)


def test_refuses_a_run_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path))
    for draw in (titrant.plots.curves, lambda run: titrant.plots.compare([run])):
        with pytest.raises(titrant.TitrantError, match="nothing-like-it"):
            draw("nothing-like-it")


def test_saves_a_png(tmp_path):
    pytest.importorskip("resvg_py")
    file = titrant.plots.compare({"a": {"x": 1}}).save(tmp_path / "a.png")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_says_what_a_png_takes(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    picture = titrant.plots.compare({"a": {"x": 1}})
    with pytest.raises(titrant.TitrantError, match=r"X662: a \.png takes resvg-py.*pip install 'titrant\[png\]'"):
        picture.save(tmp_path / "a.png")
    with pytest.raises(titrant.TitrantError, match=r"X662: .* cannot be written"):
        picture.save(tmp_path / "not there" / "a.svg")
    assert not list(Path(tmp_path).iterdir())

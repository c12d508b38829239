"""What is shown of attention: how widely heads look, maps small enough for a page, tokens only where they may be."""

import numpy as np
import pytest

from titrant.runtime.instruments.attention.attention_map import AttentionMap
from titrant.runtime.instruments.attention.seen import seen, token_names
from titrant.runtime.instruments.attention.words import attention_text

EVEN, SHARP = np.full((2, 1, 4, 4), 0.25, "float32"), np.tile(np.eye(4, dtype="float32"), (2, 1, 1, 1))


def test_tells_heads_that_look_everywhere_from_those_that_look_at_one_place():
    (layer,) = seen([AttentionMap("block", np.concatenate([EVEN, SHARP], axis=1), fused=True)]).layers
    assert layer.entropy == (1.0, 0.0)
    assert layer.itself == (0.25, 1.0)
    assert layer.first == (0.25, 0.25)
    assert layer.mean[0] == (0.625, 0.125, 0.125, 0.125)
    assert (layer.rows, layer.heads, layer.queries, layer.keys, layer.cell) == (2, 2, 4, 4, 1)
    assert layer.first_row == ()


def test_averages_long_sequences_into_cells():
    weights = np.zeros((1, 1, 10, 7), "float32")
    weights[..., 0] = 1
    (layer,) = seen([AttentionMap("block", weights, fused=False)], cells=4).layers
    assert layer.cell == 3
    assert layer.mean == ((0.3333, 0.0, 0.0),) * 4
    assert layer.itself == (0.0,)


def test_names_tokens_only_when_it_is_told_to():
    inputs = {"pixels": np.zeros((2, 4), "float32"), "ids": np.array([[7, 8, 9, 1], [2, 2, 2, 2]])}
    assert token_names(inputs) == ("7", "8", "9", "1")
    assert token_names({"pixels": inputs["pixels"]}) == ()
    maps = [AttentionMap("block", SHARP, fused=False)]
    shown = seen(maps, token_names(inputs))
    assert shown.tokens == ("7", "8", "9", "1")
    assert shown.layers[0].first_row == (
        (1.0, 0.0, 0.0, 0.0),
        (0.0, 1.0, 0.0, 0.0),
        (0.0, 0.0, 1.0, 0.0),
        (0.0, 0.0, 0.0, 1.0),
    )
    assert "7 8 9 1" in attention_text(shown)
    assert "7 8 9 1" not in attention_text(seen(maps))


@pytest.mark.parametrize("count", [1, 40])
def test_writes_a_line_a_layer(count):
    text = attention_text(seen([AttentionMap(f"layers.{place}", EVEN, fused=True) for place in range(count)]))
    assert len(text.splitlines()) == count + 3
    assert max(map(len, text.splitlines())) <= 100

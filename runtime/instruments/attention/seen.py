"""What is shown of captured attention: how it is spread, and heat maps that are small enough for a page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from titrant.runtime.instruments.attention.attention_map import AttentionMap
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

# Cells along a side of a heat map, and heads of which each has one.
MOST_CELLS, MOST_HEADS = 48, 16
_DIGITS = 4
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class LayerAttention:
    """The attention of a layer over some rows.

    `entropy` is of each head, the mean over queries, 0 (one key) to 1 (all keys alike); `first` the mean weight of the
    first key, `itself` of the key at the query's own place (0 where lengths differ). `mean` is the map averaged over
    rows and heads, (queries, keys), `by_head` that of each of the first 16 heads; a cell is the mean over `cell` places
    each way. `fused` says that the weights were computed from queries and keys.
    """

    layer: str
    fused: bool
    rows: int
    heads: int
    queries: int
    keys: int
    entropy: tuple[float, ...]
    first: tuple[float, ...]
    itself: tuple[float, ...]
    mean: Matrix
    by_head: tuple[Matrix, ...]
    cell: int = 1


@dataclass(frozen=True)
class AttentionSeen:
    """The attention of every layer, in the order in which it is computed.

    `tokens` name the places of the first row's sequence, () where what stands there is not to be shown.
    """

    layers: tuple[LayerAttention, ...]
    tokens: tuple[str, ...] = ()


def seen(maps: Sequence[AttentionMap], tokens: Sequence[str] = ()) -> AttentionSeen:
    """Return what a page shows of attention maps."""
    return AttentionSeen(tuple(map(_layer, maps)), tuple(tokens))


def _layer(of: AttentionMap) -> LayerAttention:
    import numpy as np

    rows, heads, queries, keys = of.weights.shape
    weights = of.weights.astype(np.float64)
    spread = -(weights * np.log(np.maximum(weights, 1e-30))).sum(axis=-1) / max(np.log(keys), 1e-30)
    itself = np.diagonal(weights, axis1=2, axis2=3).mean(axis=(0, 2)) if queries == keys else np.zeros(heads)
    by_head = weights.mean(axis=0)
    cell = -(-max(queries, keys) // MOST_CELLS)
    return LayerAttention(
        of.layer,
        of.fused,
        rows,
        heads,
        queries,
        keys,
        _numbers(spread.mean(axis=(0, 2))),
        _numbers(weights[..., 0].mean(axis=(0, 2))),
        _numbers(itself),
        _cells(by_head.mean(axis=0), cell),
        tuple(_cells(head, cell) for head in by_head[:MOST_HEADS]),
        cell,
    )


def _cells(weights: "np.ndarray", cell: int) -> Matrix:
    """Average over squares of `cell` places each way; those at the edges may be smaller."""
    import numpy as np

    if cell > 1:
        for axis in (0, 1):
            starts = np.arange(0, weights.shape[axis], cell)
            counts = np.diff(np.append(starts, weights.shape[axis]))
            weights = np.add.reduceat(weights, starts, axis=axis) / np.expand_dims(counts, 1 - axis)
    return tuple(_numbers(row) for row in weights)


def _numbers(values: "np.ndarray") -> tuple[float, ...]:
    return tuple(round(float(value), _DIGITS) for value in values)

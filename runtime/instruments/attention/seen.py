"""What is shown of captured attention: how it is spread, heat maps small enough for a page, and its text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from titrant.runtime.instruments.attention.capture import AttentionMap
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted

if TYPE_CHECKING:
    import numpy as np

# Cells along a side of a heat map, and heads of which each has one: of a page of its own, and of a report.
CELLS, HEADS = 48, 16
REPORT_CELLS, REPORT_HEADS = 24, 8
_DIGITS = 4
_SEQUENCES = 2  # (rows, places)
_MOST_NAME = 40
_MOST_SHOWN = 24
HeatValues = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class LayerAttention:
    """The attention of a layer over some rows.

    `entropy` is of each head, the mean over queries, 0 (one key) to 1 (all keys alike); `first` the mean weight of the
    first key, `itself` of the key at the query's own place (0 where lengths differ). `mean` is the map averaged over
    rows and heads, (queries, keys), `by_head` that of each of the first heads, `first_row` that of one row, over heads,
    where its tokens are shown; a cell is the mean over `cell` places each way. `fused` says that the weights were
    computed from queries and keys.
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
    mean: HeatValues
    by_head: tuple[HeatValues, ...]
    cell: int = 1
    first_row: HeatValues = ()


@dataclass(frozen=True)
class AttentionSeen:
    """The attention of every layer, in the order in which it is computed.

    `tokens` name the places of the first row's sequence, () where what stands there is not to be shown.
    """

    layers: tuple[LayerAttention, ...]
    tokens: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def seen(
    maps: Sequence[AttentionMap],
    tokens: Sequence[str] = (),
    notes: Sequence[str] = (),
    *,
    cells: int = CELLS,
    heads: int = HEADS,
) -> AttentionSeen:
    """Return what a page shows of attention maps: at most so many `cells` along a side, and `heads` one by one."""
    layers = tuple(_layer(of, cells, heads, named=bool(tokens)) for of in maps)
    return AttentionSeen(layers, tuple(tokens), tuple(notes))


def token_names(inputs: "Mapping[str, np.ndarray]") -> tuple[str, ...]:
    """Name the places of the first row's sequence by the whole numbers that stand there; () where none do."""
    whole = [array for array in inputs.values() if array.dtype.kind in "iu" and array.ndim == _SEQUENCES and len(array)]
    return tuple(map(str, whole[0][0])) if whole else ()


def _layer(of: AttentionMap, cells: int, shown: int, *, named: bool) -> LayerAttention:
    import numpy as np

    rows, heads, queries, keys = of.weights.shape
    weights = of.weights.astype(np.float64)
    spread = -(weights * np.log(np.maximum(weights, 1e-30))).sum(axis=-1) / max(np.log(keys), 1e-30)
    itself = np.diagonal(weights, axis1=2, axis2=3).mean(axis=(0, 2)) if queries == keys else np.zeros(heads)
    by_head = weights.mean(axis=0)
    cell = -(-max(queries, keys) // cells)
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
        tuple(_cells(head, cell) for head in by_head[:shown]),
        cell,
        _cells(weights[0].mean(axis=0), cell) if named else (),
    )


def _cells(weights: "np.ndarray", cell: int) -> HeatValues:
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


def attention_text(attention: AttentionSeen) -> str:
    """Write a line a layer: its form, how widely its heads look, and where."""
    rows: list[tuple[str, ...]] = [("layer", "rows", "heads", "places", "spread by head", "own place", "first place")]
    rows += [_row(layer) for layer in attention.layers]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    fused = sum(layer.fused for layer in attention.layers)
    head = f"attention of {counted(len(attention.layers), 'layer')}"
    if fused:
        head += f", {fused:,} of them fused: computed from queries and keys"
    legend = "spread: 0 where a head looks at one place, 1 where at all alike; places: mean weight"
    tokens = [f"first row: {' '.join(attention.tokens[:_MOST_SHOWN])}{' …' * (len(attention.tokens) > _MOST_SHOWN)}"]
    notes = [f"note: {note}" for note in attention.notes]
    return "\n".join([head, *lines, f"  {legend}", *(tokens if attention.tokens else []), *notes])


def _row(layer: LayerAttention) -> tuple[str, ...]:
    name = layer.layer if len(layer.layer) <= _MOST_NAME else f"…{layer.layer[1 - _MOST_NAME :]}"
    low, high = min(layer.entropy, default=0.0), max(layer.entropy, default=0.0)
    places = str(layer.keys) if layer.queries == layer.keys else f"{layer.queries}×{layer.keys}"
    own = f"{sum(layer.itself) / max(1, layer.heads):.2f}" if layer.queries == layer.keys else "–"
    first = f"{sum(layer.first) / max(1, layer.heads):.2f}"
    return name, f"{layer.rows:,}", f"{layer.heads}", places, f"{low:.2f} – {high:.2f}", own, first

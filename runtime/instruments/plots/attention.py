"""Draw attention weights as heat maps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.heat_map import HeatMap, HeatMaps, heat_maps
from titrant.runtime.instruments.arrays.libraries import as_numbers

if TYPE_CHECKING:
    import numpy as np

# Cells along a side, and maps in one picture: more are not told apart by eye.
_MOST_CELLS, _MOST_HEADS = 160, 64
# A row of 16-bit numbers sums to 1 within this.
_SUM_TOLERANCE = 0.02
_FORMS = "(seq, seq), (heads, seq, seq) or (batch, heads, seq, seq)"


def attention_picture(
    weights: Any, tokens: Sequence[str] | None, keys: Sequence[str] | None, heads: str | int, case: int
) -> ChartPicture:
    """Draw weights as `titrant.plots.attention` says."""
    maps = _maps(as_numbers(weights), case, square=keys is None)
    count, queries, columns = maps.shape
    rows = _labels(tokens, queries, "tokens")
    along = rows if keys is None else _labels(keys, columns, "keys")
    notes = [*_sum_notes(maps)]
    chosen = _chosen(maps, heads)
    if len(chosen) > _MOST_HEADS:
        notes.append(f"the first {_MOST_HEADS} of {len(chosen)} heads")
        chosen = chosen[:_MOST_HEADS]
    cell = -(-max(queries, columns) // _MOST_CELLS)
    if cell > 1:
        notes.append(f"each cell is the mean over {cell} × {cell} places")
    title = "Attention" if count == 1 else f"Attention: {_said(heads, count)}"
    chart = HeatMaps(
        title,
        tuple(HeatMap(name, _pooled(each, cell).tolist()) for name, each in chosen),
        rows[::cell],
        along[::cell],
        up="from (query)",
        along="to (key)",
        notes=tuple(notes),
    )
    return ChartPicture(heat_maps(chart, "attention"), title)


def _maps(weights: "np.ndarray[Any, Any]", case: int, *, square: bool) -> "np.ndarray[Any, Any]":
    """Return the maps (heads, queries, keys) of one case; ValueError for another shape."""
    shape = "(" + ", ".join(map(str, weights.shape)) + ")"
    if weights.ndim == 4:
        if not 0 <= case < len(weights):
            raise ValueError(f"there is no case {case} in a batch of {len(weights)}")
        weights = weights[case]
    elif case:
        raise ValueError(f"there is no case {case}: weights of shape {shape} are of one case")
    if weights.ndim == 2:
        weights = weights[None]
    if weights.ndim != 3 or not weights.size:
        raise ValueError(f"attention weights are {_FORMS}, and these are {shape}")
    if square and weights.shape[1] != weights.shape[2]:
        advice = "name the columns with keys= where queries look at another sequence"
        raise ValueError(f"attention weights are {_FORMS}, and these are {shape}: {advice}")
    return weights


def _labels(labels: Sequence[str] | None, count: int, name: str) -> tuple[str, ...]:
    if labels is None:
        return tuple(map(str, range(count)))
    if isinstance(labels, str) or len(labels) != count:
        given = "a text" if isinstance(labels, str) else f"{len(labels)}"
        raise ValueError(f"{name} are one text for each of the {count} places, and {given} was given")
    return tuple(" ".join(str(label).split()) or repr(str(label)) for label in labels)


def _chosen(maps: "np.ndarray[Any, Any]", heads: str | int) -> "list[tuple[str, np.ndarray[Any, Any]]]":
    if heads == "mean":
        return [("mean of the heads", maps.mean(axis=0))]
    if heads == "each":
        return [(f"head {number}", each) for number, each in enumerate(maps)]
    if isinstance(heads, bool) or not isinstance(heads, int):
        raise ValueError(f"heads are 'mean', 'each' or the number of one, not {heads!r}")
    if not 0 <= heads < len(maps):
        raise ValueError(f"there is no head {heads}: the {len(maps)} are numbered from 0")
    return [(f"head {heads}", maps[heads])]


def _said(heads: str | int, count: int) -> str:
    return {"mean": f"mean of {count} heads", "each": f"{count} heads"}.get(str(heads), f"head {heads} of {count}")


def _sum_notes(maps: "np.ndarray[Any, Any]") -> list[str]:
    """Say which rows are no shares of attention: those of padding are all 0."""
    import numpy as np

    sums = maps.sum(axis=2)
    broken = ~np.isfinite(sums)
    off = ~broken & (np.abs(sums - 1) > _SUM_TOLERANCE) & (sums != 0)
    notes = []
    if off.any():
        low, high = float(sums[off].min()), float(sums[off].max())
        span = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
        notes.append(f"{int(off.sum()):,} of {sums.size:,} rows do not sum to 1 but to {span}: no softmax made them")
    if broken.any():
        notes.append(f"{int(broken.sum()):,} of {sums.size:,} rows hold NaN or infinity")
    if (maps < 0).any():
        notes.append(f"{int((maps < 0).sum()):,} weights are negative, and drawn as 0")
    return notes


def _pooled(weights: "np.ndarray[Any, Any]", cell: int) -> "np.ndarray[Any, Any]":
    """Average over squares of `cell` places each way; those at the edges may be smaller."""
    import numpy as np

    for axis in (0, 1) if cell > 1 else ():
        starts = np.arange(0, weights.shape[axis], cell)
        counts = np.diff(np.append(starts, weights.shape[axis]))
        weights = np.add.reduceat(weights, starts, axis=axis) / np.expand_dims(counts, 1 - axis)
    return weights

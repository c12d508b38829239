"""Captured attention as a section of a page: where the heads of each layer look, as a table and as heat maps."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.heat_map import HeatMap, HeatMaps, heat_maps
from titrant.runtime.instruments.attention.seen import AttentionSeen, LayerAttention
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn, number_cell
from titrant.schema.values.units import counted

_COLUMNS = (
    *(TableColumn(name) for name in ("Model", "Layer")),
    *(TableColumn(name, numeric=True) for name in ("Rows", "Heads", "Places")),
    TableColumn("Least spread", numeric=True, tip="entropy of the head that looks at the fewest places, 0 to 1"),
    TableColumn("Most spread", numeric=True, tip="entropy of the head that looks at the most places, 0 to 1"),
    TableColumn("Own place", numeric=True, tip="mean weight of the key at the query's own place"),
    TableColumn("First place", numeric=True, tip="mean weight of the first key"),
    TableColumn("Read"),
)
# Layers that are drawn; those in the middle of a deep model are left to the JSON.
_MOST = 12


def attention_sections(seen: Mapping[str, AttentionSeen]) -> tuple[PageSection, ...]:
    """Lay out the attention of models by their names as a page: the table, then each layer's maps, none folded away."""
    whole = attention_section(seen)
    return (replace(whole, inner=()), *whole.inner)


def attention_section(seen: Mapping[str, AttentionSeen]) -> PageSection:
    """Lay out the attention of models by their names; each layer's maps are folded away below the table."""
    sentence = (
        "Spread is the entropy of a head's weights, 0 where it looks at one place and 1 where at all alike; own and "
        "first place are mean weights."
    )
    rows = tuple(_row(name, layer) for name, attention in seen.items() for layer in attention.layers)
    table = PageTable(_COLUMNS, rows) if rows else None
    inner, notes = [], []
    for model, (name, attention) in enumerate(seen.items()):
        drawn = _drawn(attention.layers)
        inner += [_maps(name, layer, attention.tokens, f"attention-{model}-{place}") for place, layer in drawn]
        if len(drawn) < len(attention.layers):
            left = len(attention.layers) - len(drawn)
            notes.append(f"{name}: {counted(left, 'layer')} in the middle of it are in the JSON, and not drawn.")
        notes += [f"{name}: {note}." for note in attention.notes]
    return PageSection("attention", "Attention", sentence, table, (), tuple(inner), tuple(notes))


def _drawn(layers: Sequence[LayerAttention]) -> list[tuple[int, LayerAttention]]:
    numbered = list(enumerate(layers))
    return numbered if len(numbered) <= _MOST else [*numbered[: _MOST // 2], *numbered[-_MOST // 2 :]]


def _maps(model: str, layer: LayerAttention, tokens: Sequence[str], identifier: str) -> PageSection:
    title = f"{model}: {layer.layer}"
    pictures = [_picture(f"{title}, heads averaged", layer, [("heads averaged", layer.mean)], (), identifier)]
    if layer.first_row:
        named = f"{title}, first row by its tokens"
        pictures.append(_picture(named, layer, [("first row", layer.first_row)], tokens, f"{identifier}-row"))
    if len(layer.by_head) > 1:
        heads = [(f"head {place}", weights) for place, weights in enumerate(layer.by_head)]
        pictures.append(_picture(f"{title}, head by head", layer, heads, (), f"{identifier}-heads"))
    notes = [f"The first {len(layer.by_head)} of {layer.heads:,} heads are drawn."] * (len(layer.by_head) < layer.heads)
    return PageSection(
        identifier, f"{title} · {counted(layer.heads, 'head')}", "", None, tuple(pictures), (), tuple(notes)
    )


def _picture(
    title: str,
    layer: LayerAttention,
    maps: Sequence[tuple[str, Sequence[Sequence[float]]]],
    tokens: Sequence[str],
    identifier: str,
) -> ChartPicture:
    rows, columns = (_labels(count, layer.cell, tokens) for count in (layer.queries, layer.keys))
    notes = [f"mean over {counted(layer.rows, 'row')}"] * (not tokens)
    notes += [f"a cell is the mean of {layer.cell} places each way"] * (layer.cell > 1)
    chart = HeatMaps(
        title, tuple(HeatMap(name, values) for name, values in maps), rows, columns, "queries", "keys", tuple(notes)
    )
    return ChartPicture(heat_maps(chart, identifier), title)


def _labels(count: int, cell: int, tokens: Sequence[str]) -> tuple[str, ...]:
    """Name the places of each cell: by their number, or by the token that stands there."""
    if len(tokens) == count and cell == 1:
        return tuple(tokens)
    return tuple(str(first) for first in range(0, count, cell))


def _row(name: str, layer: LayerAttention) -> tuple[TableCell | str, ...]:
    square = layer.queries == layer.keys
    own = sum(layer.itself) / max(1, layer.heads) if square else None
    return (
        name,
        layer.layer,
        number_cell(layer.rows),
        number_cell(layer.heads),
        number_cell(layer.keys, None if square else f"{layer.queries:,} × {layer.keys:,}"),
        _share(min(layer.entropy, default=0.0)),
        _share(max(layer.entropy, default=0.0)),
        _share(own),
        _share(sum(layer.first) / max(1, layer.heads)),
        "from queries and keys" if layer.fused else "as computed",
    )


def _share(value: float | None) -> TableCell:
    return number_cell(value, None if value is None else f"{value:.2f}")

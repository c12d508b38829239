"""Captured attention as a section of a page: where the heads of each layer look."""

from collections.abc import Mapping

from titrant.runtime.instruments.attention.seen import AttentionSeen, LayerAttention
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn, number_cell

_COLUMNS = (
    *(TableColumn(name) for name in ("Model", "Layer")),
    *(TableColumn(name, numeric=True) for name in ("Rows", "Heads", "Places")),
    TableColumn("Least spread", numeric=True, tip="entropy of the head that looks at the fewest places, 0 to 1"),
    TableColumn("Most spread", numeric=True, tip="entropy of the head that looks at the most places, 0 to 1"),
    TableColumn("Own place", numeric=True, tip="mean weight of the key at the query's own place"),
    TableColumn("First place", numeric=True, tip="mean weight of the first key"),
    TableColumn("Read"),
)


def attention_section(seen: Mapping[str, AttentionSeen]) -> PageSection:
    """Lay out the attention of models by their names."""
    sentence = (
        "Spread is the entropy of a head's weights, 0 where it looks at one place and 1 where at all alike; own and "
        "first place are mean weights."
    )
    rows = tuple(_row(name, layer) for name, attention in seen.items() for layer in attention.layers)
    return PageSection("attention", "Attention", sentence, PageTable(_COLUMNS, rows) if rows else None)


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

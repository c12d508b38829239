"""Captured attention as a section of a page: where the heads of each layer look."""

from collections.abc import Mapping

from titrant.runtime.charts.section import Section, SectionTable
from titrant.runtime.instruments.attention.seen import AttentionSeen, LayerAttention

_HEAD = ("Layer", "Rows", "Heads", "Places", "Least spread", "Most spread", "Own place", "First place", "Read")
_NUMBERS = frozenset(range(1, 8))


def attention_section(seen: Mapping[str, AttentionSeen]) -> Section:
    """Lay out the attention of models by their names."""
    sentence = (
        "Spread is the entropy of a head's weights, 0 where it looks at one place and 1 where at all alike; own and first "
        "place are mean weights."
    )
    tables = tuple(
        SectionTable(_HEAD, tuple(map(_row, attention.layers)), f"{name}: attention", _NUMBERS)
        for name, attention in seen.items()
    )
    return Section("attention", "Attention", sentence, tables)


def _row(layer: LayerAttention) -> tuple[str, ...]:
    square = layer.queries == layer.keys
    return (
        layer.layer,
        f"{layer.rows:,}",
        f"{layer.heads:,}",
        f"{layer.keys:,}" if square else f"{layer.queries:,} × {layer.keys:,}",
        f"{min(layer.entropy, default=0.0):.2f}",
        f"{max(layer.entropy, default=0.0):.2f}",
        f"{sum(layer.itself) / max(1, layer.heads):.2f}" if square else "–",
        f"{sum(layer.first) / max(1, layer.heads):.2f}",
        "from queries and keys" if layer.fused else "as computed",
    )

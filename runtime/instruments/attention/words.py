"""Write captured attention as text of at most 100 columns."""

from typing import TYPE_CHECKING

from titrant.schema.values.units import counted

if TYPE_CHECKING:
    from titrant.runtime.instruments.attention.seen import AttentionSeen, LayerAttention

_MOST_NAME = 40
_MOST_SHOWN = 24


def attention_text(found: "AttentionSeen") -> str:
    """Write a line a layer: its form, how widely its heads look, and where."""
    rows: list[tuple[str, ...]] = [("layer", "rows", "heads", "places", "spread by head", "own place", "first place")]
    rows += [_row(layer) for layer in found.layers]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    fused = sum(layer.fused for layer in found.layers)
    head = f"attention of {counted(len(found.layers), 'layer')}"
    if fused:
        head += f", {fused:,} of them fused: computed from queries and keys"
    legend = "spread: 0 where a head looks at one place, 1 where at all alike; places: mean weight"
    tokens = [f"first row: {' '.join(found.tokens[:_MOST_SHOWN])}{' …' * (len(found.tokens) > _MOST_SHOWN)}"]
    return "\n".join([head, *lines, f"  {legend}", *(tokens if found.tokens else [])])


def _row(layer: "LayerAttention") -> tuple[str, ...]:
    name = layer.layer if len(layer.layer) <= _MOST_NAME else f"…{layer.layer[1 - _MOST_NAME :]}"
    low, high = min(layer.entropy, default=0.0), max(layer.entropy, default=0.0)
    places = str(layer.keys) if layer.queries == layer.keys else f"{layer.queries}×{layer.keys}"
    own = f"{sum(layer.itself) / max(1, layer.heads):.2f}" if layer.queries == layer.keys else "–"
    first = f"{sum(layer.first) / max(1, layer.heads):.2f}"
    return name, f"{layer.rows:,}", f"{layer.heads}", places, f"{low:.2f} – {high:.2f}", own, first

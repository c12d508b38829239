"""A model's parameters and FLOPs by block, as a table of at most 100 columns."""

from titrant.cli.console import table
from titrant.runtime.instruments.architecture.architecture import of_layers
from titrant.runtime.instruments.architecture.complexity import BlockShare, block_shares
from titrant.runtime.instruments.architecture.names import short_count
from titrant.schema.facts import ModelFacts

_MOST_NAME, _MOST_KIND, _MOST_ROWS = 30, 18, 16
# A model of fewer layers than this is seen at once.
_FEWEST_LAYERS = 8


def block_table(model: ModelFacts) -> str:
    """Write which blocks have the parameters and the FLOPs; "" for a model without blocks."""
    if len(model.layers) < _FEWEST_LAYERS:
        return ""
    shares = block_shares(of_layers("", model.layers), _MOST_ROWS)
    if all(share.layers == 1 for share in shares):
        return ""
    flops = sum(share.flops or 0 for share in shares)
    if model.flops is not None and model.flops > flops:
        shares = (*shares, BlockShare("products without weights", "", 1, 0, 0, model.flops - flops))
    known = bool(model.flops)
    rows = [("block", "kind", "layers", "parameters", "", "FLOPs", "")]
    rows += [_row(share, model) for share in shares]
    widths = [max(len(row[place]) for row in rows) for place in range(7)]
    aligned = [
        [cell.rjust(widths[place]) if place > 1 and cell else cell for place, cell in enumerate(row)][
            : 7 if known else 5
        ]
        for row in rows
    ]
    return f"by block\n{table(aligned)}"


def _row(share: BlockShare, model: ModelFacts) -> tuple[str, str, str, str, str, str, str]:
    times = f" × {share.copies}" if share.copies > 1 else ""
    return (
        _fit(share.name, _MOST_NAME - len(times)) + times,
        _fit(share.kind, _MOST_KIND),
        f"{share.layers:,}" if share.layers else "–",
        *_part(share.parameters, model.parameters),
        *_part(share.flops or 0, model.flops or 0),
    )


def _part(value: int, total: int) -> tuple[str, str]:
    if not value or not total:
        return "–", ""
    percent = 100 * value / total
    return short_count(value), "< 1 %" if percent < 1 else f"{percent:.0f} %"


def _fit(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"

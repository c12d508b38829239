"""Where a model's parameters and FLOPs are: by block as a table and bars, and summed up along the model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from titrant.runtime.instruments.architecture.blocks import ArchitectureBlock, Child, common_name, span_name
from titrant.runtime.instruments.architecture.fold import folded
from titrant.runtime.instruments.architecture.layer_graph import LayerGraph
from titrant.runtime.instruments.architecture.names import short_count
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.runtime.charts.alone import ChartPicture

_MOST_POINTS = 240


@dataclass(frozen=True)
class BlockShare:
    """What a block or layer has of a model: `layers`, parameters and FLOPs are those of all its copies."""

    name: str
    kind: str
    copies: int
    layers: int
    parameters: int
    flops: int | None


def block_shares(
    architecture: LayerGraph, most: int = 16, whole: ArchitectureBlock | None = None
) -> tuple[BlockShare, ...]:
    """Divide a model into at most about `most` blocks and layers in the order of execution, the largest divided first.

    Layers without parameters and FLOPs are summed up in the last row; together the rows are the whole model. `whole`
    is the model with its copies folded, where that is done already.
    """
    rows = list((folded(architecture).root if whole is None else whole).children)
    while True:
        room = most + 1 - _costly(rows)
        divisible = [
            child
            for child in rows
            if isinstance(child, ArchitectureBlock) and len(child.copies) == 1 and _costly(child.children) <= room
        ]
        if not divisible:
            break
        block = max(divisible, key=lambda child: _cost(child, architecture))
        place = rows.index(block)
        rows[place : place + 1] = block.children
    shares = [_share(child) for child in rows]
    light = [share for share in shares if not share.parameters and not share.flops]
    heavy = [share for share in shares if share.parameters or share.flops]
    if light and heavy:
        heavy.append(BlockShare("without parameters and FLOPs", "", 1, sum(share.layers for share in light), 0, 0))
    return tuple(heavy or light)


def _cost(child: Child, architecture: LayerGraph) -> float:
    return child.parameters / (architecture.parameters or 1) + (child.flops or 0) / (architecture.flops or 1)


def _costly(children: Sequence[Child]) -> int:
    return sum(bool(child.parameters or child.flops) for child in children)


def _share(child: Child) -> BlockShare:
    if isinstance(child, ArchitectureBlock):
        copies = len(child.copies)
        kind = child.kind or (common_name(child) if child.made_of else "")
        return BlockShare(span_name(child), kind, copies, child.operations * copies, child.parameters, child.flops)
    return BlockShare(child.name, child.kind, 1, 1, child.parameters, child.flops)


def complexity_pictures(
    architecture: LayerGraph, shares: Sequence[BlockShare], most: int = 14, name: str = "complexity"
) -> "tuple[ChartPicture, ...]":
    """Draw the largest shares by parameters and by FLOPs, the others as one bar, and both summed up along the model.

    `name` keeps the pictures' ids apart on a page.
    """
    from titrant.runtime.charts.alone import ChartPicture
    from titrant.runtime.charts.share_bars import Bar, share_bars

    pictures = []
    for title, key in (("Parameters", _parameters), ("FLOPs of a case", _flops)):
        total = sum(key(share) for share in shares)
        if not total:
            continue
        ranked = sorted((share for share in shares if key(share)), key=lambda share: -key(share))
        bars = [Bar(_label(share), key(share), short_count(key(share))) for share in ranked[:most]]
        rest = sum(key(share) for share in ranked[most:])
        if rest:
            bars.append(Bar(f"{len(ranked) - most} others", rest, short_count(rest)))
        of = "parameters" if key is _parameters else "flops"
        pictures.append(ChartPicture(share_bars(title, bars, total, f"{name}-{of}"), title))
    return (*pictures, *_cumulative(architecture, name))


def _parameters(share: BlockShare) -> int:
    return share.parameters


def _flops(share: BlockShare) -> int:
    return share.flops or 0


def _label(share: BlockShare) -> str:
    return f"{share.name} × {share.copies}" if share.copies > 1 else share.name


def _cumulative(architecture: LayerGraph, name: str) -> "tuple[ChartPicture, ...]":
    from titrant.runtime.charts.alone import ChartPicture
    from titrant.runtime.charts.series import Curve, lines_over

    operations = [operation for operation in architecture.operations if not operation.hidden]
    totals = {"parameters": architecture.parameters, "FLOPs": architecture.flops or 0}
    if len(operations) < 3 or not any(totals.values()):
        return ()
    every = max(1, len(operations) // _MOST_POINTS)
    points: dict[str, list[tuple[float, float]]] = {}
    for label, total in totals.items():
        if not total:
            continue
        summed, line = 0, [(0.0, 0.0)]
        for place, operation in enumerate(operations, 1):
            summed += operation.parameters if label == "parameters" else operation.flops or 0
            if place % every == 0 or place == len(operations):
                line.append((float(place), summed / total))
        points[label] = line
    title = "Summed up along the model, as a share of all"
    chart = Curve(title, {}, across="layers, in the order of execution")
    return (ChartPicture(lines_over(chart, points, f"{name}-summed", log=False), title),)

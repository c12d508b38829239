"""The page of an architecture: the drawing, every block that it leaves closed, the complexity, and the layers."""

from collections import deque
from collections.abc import Iterator

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.share_bars import written
from titrant.runtime.instruments.architecture.blocks import ArchitectureBlock, common_name, span_name
from titrant.runtime.instruments.architecture.boxes import written_shape
from titrant.runtime.instruments.architecture.complexity import block_shares, complexity_pictures
from titrant.runtime.instruments.architecture.draw import drawing
from titrant.runtime.instruments.architecture.fold import Folded, folded
from titrant.runtime.instruments.architecture.layer_graph import MODULES, TRACED, LayerGraph, Operation
from titrant.runtime.instruments.architecture.names import short_count
from titrant.runtime.instruments.architecture.view import closed_blocks, view
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn, number_cell
from titrant.schema.values.units import counted

# Boxes of the drawing on top, and of each one below it.
_BOXES, _INNER_BOXES = 40, 30
# The page stays small: so many blocks are drawn by themselves, and so many layers are listed.
_MOST_BLOCKS, _MOST_LAYERS = 40, 1000


def architecture_sections(architecture: LayerGraph) -> tuple[PageSection, ...]:
    """Return the sections of a page: architecture, complexity where there is any, and layers."""
    whole = folded(architecture)
    drawn = drawing_section(architecture, whole, "Architecture")
    return (drawn, *complexity_section(architecture, whole), _layer_section(architecture))


def drawing_section(
    architecture: LayerGraph, whole: Folded, title: str, anchor: str = "architecture", most_blocks: int = _MOST_BLOCKS
) -> PageSection:
    """Return a model's drawing, and below it at most so many of the blocks that it leaves closed.

    `whole` is the model with its copies folded, `anchor` is unique on the page: those inside the section begin with it.
    """
    shown = view(whole.root, _BOXES)
    anchors = {whole.root.name: f"{anchor}-drawing"}
    closed = list(_closed(whole, anchors, anchor, most_blocks))
    picture = drawing(architecture, whole, None, _BOXES, anchors)
    inner = tuple(_inner(architecture, whole, block, anchors) for block in closed[:most_blocks])
    notes = list(architecture.notes)
    if len(closed) > most_blocks:
        notes.append(f"not drawn by themselves: {counted(len(closed) - most_blocks, 'further block')}")
    count = sum(not operation.hidden for operation in architecture.operations)
    how = {
        TRACED: "operations between them included, as the tensors of one call went through them",
        MODULES: "in the order of their registration, since no call was followed: which data goes where is not known",
    }.get(architecture.basis, "as the file has them")
    sentence = f"{counted(count, 'layer')}, {how}."
    if inner:
        sentence += " What stands in a closed block is drawn below; a click on it leads there."
    elif any(len(block.copies) > 1 for block in shown.block.children if isinstance(block, ArchitectureBlock)):
        sentence += " Copies of a block stand once, with how many there are."
    return PageSection(anchor, title, sentence, None, (picture,), inner, tuple(notes))


def _closed(whole: Folded, anchors: dict[str, str], anchor: str, most_blocks: int) -> Iterator[ArchitectureBlock]:
    """Yield the blocks that have drawings of their own, those of the overview first, and name their places.

    Beyond `most_blocks` the blocks that these leave closed follow, and no longer what stands in them.
    """
    left, named = deque(closed_blocks(view(whole.root, _BOXES))), set(anchors)
    while left:
        block = left.popleft()
        if block.name in named:
            continue
        named.add(block.name)
        if len(anchors) <= most_blocks:
            anchors[block.name] = f"{anchor}-block-{len(anchors)}"
            left += closed_blocks(view(block, _INNER_BOXES))
        yield block


def _inner(architecture: LayerGraph, whole: Folded, block: ArchitectureBlock, anchors: dict[str, str]) -> PageSection:
    times = f" × {len(block.copies)}" if len(block.copies) > 1 else ""
    kind = block.kind or (common_name(block) if block.made_of else "")
    figures = [counted(block.operations, "layer"), f"{block.parameters:,} parameters" if block.parameters else ""]
    title = (
        f"{span_name(block)}{times}"
        + (f" · {kind}" if kind else "")
        + "".join(f" · {each}" for each in figures if each)
    )
    drawn = drawing(architecture, whole, block, _INNER_BOXES, anchors)
    return PageSection(f"{anchors[block.name]}-fold", title, "", None, (drawn,))


def complexity_section(
    architecture: LayerGraph, whole: Folded, title: str = "Complexity", anchor: str = "complexity"
) -> Iterator[PageSection]:
    """Yield where parameters and FLOPs are by block, as a table and pictures; nothing of a model without any."""
    shares = block_shares(architecture, whole=whole.root)
    pictures: tuple[ChartPicture, ...] = complexity_pictures(architecture, shares, name=anchor)
    if not pictures:
        return
    columns = (
        TableColumn("block"), TableColumn("kind"), TableColumn("layers", numeric=True),
        TableColumn("parameters", numeric=True), TableColumn("share", numeric=True),
        TableColumn("FLOPs", numeric=True, tip="of one case, two per multiply-add"), TableColumn("share", numeric=True),
    )  # fmt: skip
    rows = []
    for share in shares:
        name = f"{share.name} × {share.copies}" if share.copies > 1 else share.name
        rows.append(
            (
                name, share.kind, number_cell(share.layers), number_cell(share.parameters),
                _share(share.parameters, architecture.parameters), number_cell(share.flops),
                _share(share.flops, architecture.flops),
            )
        )  # fmt: skip
    total = f"{architecture.parameters:,} parameters"
    flops = architecture.flops
    total += f" and {short_count(flops)} FLOPs a case" if flops else "; FLOPs are not known"
    yield PageSection(anchor, title, f"{total}.", PageTable(columns, tuple(rows)), pictures)


def _share(value: int | None, total: int | None) -> TableCell:
    if not value or not total:
        return TableCell("–")
    return TableCell(written(value / total), value / total, share=value / total)


def _layer_section(architecture: LayerGraph) -> PageSection:
    columns = (
        TableColumn("#", numeric=True), TableColumn("layer"), TableColumn("kind"), TableColumn("what"),
        TableColumn("gives", tip="the shape of its output; N is the batch"), TableColumn("parameters", numeric=True),
        TableColumn("FLOPs", numeric=True, tip="of one case, two per multiply-add"), TableColumn("precision"),
    )  # fmt: skip
    drawn = [operation for operation in architecture.operations if not operation.hidden]
    rows = tuple(_layer(place, operation, architecture) for place, operation in enumerate(drawn[:_MOST_LAYERS], 1))
    more = len(drawn) - len(rows)
    left_out = f"{more:,} further layers are in titrant inspect --json" if more else ""
    return PageSection("layers", "Layers", "", PageTable(columns, rows, left_out))


def _layer(place: int, operation: Operation, architecture: LayerGraph) -> tuple[TableCell | str, ...]:
    shapes = [written_shape(architecture.shapes[name]) for name in operation.outputs if name in architecture.shapes]
    precision = f"{operation.precision}, quantized" if operation.quantized else operation.precision
    what = f"weights of {operation.shared_with}" if operation.shared_with else operation.detail
    gives = ", ".join(shapes[:2]) + (" …" if len(shapes) > 2 else "")
    return (
        number_cell(place), operation.name, operation.kind, what, gives,
        number_cell(operation.parameters or None), number_cell(operation.flops or None), precision,
    )  # fmt: skip

"""The original and what is released: the table of their parameters, and their architecture, whole and by block."""

from collections.abc import Iterator, Mapping
from typing import Any

from titrant.runtime.instruments.architecture.fold import folded
from titrant.runtime.instruments.architecture.layer_graph import LayerGraph
from titrant.runtime.instruments.architecture.page import complexity_section, drawing_section
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn, number_cell
from titrant.schema.values.canonical import read_back
from titrant.schema.values.units import format_size

# What is wrong with a parameter: the key of the line that counts it, and the word.
_FAULTS = (("nan", "NaN"), ("infinite", "infinite"))
_COLUMNS = (
    TableColumn("Parameter"),
    TableColumn("Shape"),
    TableColumn("Type"),
    TableColumn("Count", numeric=True),
    TableColumn("Bytes", numeric=True),
    TableColumn("Trains"),
    *(TableColumn(name, numeric=True) for name in ("Mean", "Deviation", "Least", "Most")),
    TableColumn("Values"),
)

_DRAWN = "Data flows downwards; a block that repeats stands once, with how often it does."
# Drawings of single blocks, of all models together: a report is a file that people send.
_MOST_BLOCKS = 16


def summary_section(seen: Mapping[str, Any]) -> PageSection:
    """List every parameter by model, and what they add up to; those that are not sound stand first."""
    sentence = "Statistics are over the finite values of each parameter; tied weights are counted once."
    inner = tuple(_of_model(name, summary) for name, summary in seen.items())
    return PageSection("parameters", "Parameters", sentence, inner=inner)


def _of_model(name: str, summary: Mapping[str, Any]) -> PageSection:
    """Fold the table of one model away: with hundreds of parameters it is longer than the rest of the page."""
    counts, lines = summary["counts"], summary["lines"]
    total = f"{counts['total']:,} parameters, {counts['trainable']:,} trainable, {format_size(counts['bytes'])}"
    bad = sum(_is_bad(line) for line in lines)
    title = f"{name}: {total}" + (f"; ✕ {bad} with NaN or infinity" if bad else "")
    rows = tuple(map(_row, sorted(lines, key=lambda line: not _is_bad(line))))
    return PageSection(f"parameters-{name}", title, table=PageTable(_COLUMNS, rows))


def _is_bad(line: Mapping[str, Any]) -> bool:
    """Whether a parameter holds what no arithmetic gets rid of."""
    return bool(line["nan"] or line["infinite"])


def _row(line: Mapping[str, Any]) -> tuple[TableCell | str, ...]:
    """Write one parameter; what has no finite value has no statistics."""
    statistics = (line["mean"], line["deviation"], line["minimum"], line["maximum"])
    faults = [f"{line[key]:,} {word}" for key, word in _FAULTS if line[key]]
    # A tied weight was listed, with its statistics, under the name that comes first.
    verdict = f"tied to {line['tied']}" if line["tied"] else f"✕ {', '.join(faults)}" if faults else "✓ finite"
    return (
        line["name"],
        " × ".join(map(str, line["shape"])) or "1",
        line["dtype"],
        number_cell(line["count"]),
        number_cell(line["bytes"], format_size(line["bytes"])),
        "yes" if line["trainable"] else "no",
        *(number_cell(value, None if value is None else f"{value:.3g}") for value in statistics),
        TableCell(verdict, tone="fail" if faults else ""),
    )


def architecture_section(seen: Mapping[str, Any]) -> PageSection | None:
    """Draw each model that could be followed, and say of the others why they could not; None where nothing is drawn.

    Results of earlier versions of titrant have no architecture, and are left out.
    """
    drawn = {name: read_back(LayerGraph, value["architecture"]) for name, value in seen.items() if _has(value)}
    inner = tuple(part for name, graph in drawn.items() for part in _drawing(name, graph, _MOST_BLOCKS // len(drawn)))
    notes = tuple(f"{name} is not drawn: {value['undrawn']}." for name, value in seen.items() if value.get("undrawn"))
    if not inner:
        return PageSection("architecture", "Architecture", notes=notes) if notes else None
    # The first drawing is seen at once, all else is folded below it.
    first, *others = inner
    sentence = f"{_DRAWN} {first.title}: {first.sentence}"
    notes = (*(f"{first.title}: {note}." for note in first.notes), *notes)
    return PageSection("architecture", "Architecture", sentence, None, first.pictures, (*first.inner, *others), notes)


def _has(value: Mapping[str, Any]) -> bool:
    return value.get("architecture") is not None


def _drawing(name: str, graph: LayerGraph, blocks: int) -> Iterator[PageSection]:
    """Yield a model's drawing with its blocks, and where its parameters and FLOPs are."""
    whole = folded(graph)
    yield drawing_section(graph, whole, f"{name}: {graph.name}", f"architecture-{name}", blocks)
    yield from complexity_section(graph, whole, f"{name}: complexity", f"complexity-{name}")

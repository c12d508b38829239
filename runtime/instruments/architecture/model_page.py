"""The page of `titrant inspect --out`: the facts of a model, its architecture, and its weights."""

from pathlib import Path

from titrant.runtime.instruments.architecture.architecture import Architecture
from titrant.runtime.instruments.architecture.names import short_count
from titrant.runtime.instruments.architecture.page import architecture_sections, write_out
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn, number_cell
from titrant.runtime.page.write import page_html
from titrant.schema.facts import Layer, ModelFacts, TensorSpec
from titrant.schema.values.units import format_size

_MOST_WEIGHTS = 1000


def save_model(
    architecture: Architecture, facts: ModelFacts, file: Path, further: tuple[PageSection, ...] = ()
) -> Path:
    """Write a model's drawing (.svg), or a page with what was found out of it (.html), and `further` sections last.

    RecipeError X721 where the file cannot be written.
    """
    if file.suffix.lower() == ".svg":
        return write_out(file, architecture.picture().alone())
    sections = (_facts(facts), *architecture_sections(architecture), *_weights(facts), *further)
    return write_out(file, page_html(architecture.name, sections, brand="titrant inspect"))


def _facts(facts: ModelFacts) -> PageSection:
    flops = "unknown" if facts.flops is None else f"{short_count(facts.flops)} a case, two per multiply-add"
    activations = "unknown" if facts.activation_bytes is None else f"{format_size(facts.activation_bytes)} a case"
    rows = [
        ("layers", f"{len(facts.layers):,}"),
        ("parameters", f"{facts.parameters:,}"),
        ("weights", format_size(facts.weight_bytes)),
        ("FLOPs", flops),
        ("activations", activations),
        ("inputs", "; ".join(map(_spec, facts.inputs)) or "not given"),
        ("outputs", "; ".join(map(_spec, facts.outputs)) or "unknown"),
    ]
    if facts.source == "factory":
        rows.insert(2, ("trainable", f"{facts.trainable:,}"))
    table = PageTable((TableColumn("fact"), TableColumn("value")), tuple(rows))
    return PageSection("facts", "Facts", "", table, notes=tuple(facts.notes))


def _spec(spec: TensorSpec) -> str:
    return f"{spec.name} ({', '.join(map(str, spec.shape))}) {spec.dtype}"


def _weights(facts: ModelFacts) -> tuple[PageSection, ...]:
    """List the layers that hold weights, with what these take."""
    held = [layer for layer in facts.layers if layer.weight_bytes or layer.parameters]
    if not held:
        return ()
    trains = facts.source == "factory"
    columns = (
        TableColumn("layer"), TableColumn("type"), TableColumn("shape"), TableColumn("dtype"),
        TableColumn("parameters", numeric=True), TableColumn("bytes", numeric=True),
        *([TableColumn("trainable", numeric=True)] if trains else []),
    )  # fmt: skip
    rows = tuple(_weight(layer, trains=trains) for layer in held[:_MOST_WEIGHTS])
    more = len(held) - len(rows)
    left_out = f"{more:,} further layers are in titrant inspect --json" if more else ""
    return (PageSection("parameters", "Parameters", "", PageTable(columns, rows, left_out)),)


def _weight(layer: Layer, *, trains: bool) -> tuple[TableCell | str, ...]:
    cells = (
        layer.name, layer.type, "×".join(map(str, layer.weight_shape)), layer.dtype, number_cell(layer.parameters),
        number_cell(layer.weight_bytes, format_size(layer.weight_bytes)),
    )  # fmt: skip
    return (*cells, number_cell(layer.trainable)) if trains else cells

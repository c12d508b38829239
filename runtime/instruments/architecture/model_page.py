"""What stands around the drawing on the page of `titrant inspect --out`: the facts of a model, and its weights."""

from titrant.runtime.instruments.architecture.names import short_count
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn, number_cell
from titrant.schema.facts import Layer, ModelFacts, TensorSpec
from titrant.schema.values.units import format_size

_MOST_WEIGHTS = 1000


def model_sections(facts: ModelFacts, drawn: tuple[PageSection, ...], operations: int) -> tuple[PageSection, ...]:
    """Return the sections of a model's page: its facts, what was `drawn` of it, so many operations, and its weights."""
    return (_facts(facts, operations), *drawn, *_weights(facts))


def _facts(facts: ModelFacts, operations: int) -> PageSection:
    flops = "unknown" if facts.flops is None else f"{short_count(facts.flops)} a case, two per multiply-add"
    activations = "unknown" if facts.activation_bytes is None else f"{format_size(facts.activation_bytes)} a case"
    rows = [
        ("layers", _layers(facts, operations)),
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


def _layers(facts: ModelFacts, operations: int) -> str:
    """Count the layers: modules that hold no others, nodes of a graph; and what is drawn, where that is another number.

    Drawn is each call of a layer, and what is computed between layers.
    """
    count = len(facts.layers)
    if operations > count:
        return f"{count:,}; {operations:,} are drawn: each call of one, and what is computed between them"
    return f"{count:,}" if operations == count else f"{count:,}, of which {operations:,} are drawn"


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

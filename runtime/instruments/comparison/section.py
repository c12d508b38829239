"""Two models side by side as a section of a page."""

from collections.abc import Iterator

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.series import Curve, lines_over
from titrant.runtime.instruments.comparison.difference import (
    SCALED,
    LayerDifference,
    ModelComparison,
    OutputDifference,
    decibel_words,
    verdict,
)
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn, number_cell

_LAYERS = (
    *(TableColumn(name) for name in ("Layer", "Became", "Change", "Shape", "Precision")),
    TableColumn("Weights", numeric=True, tip="signal-to-noise in decibels"),
    TableColumn("Answers", numeric=True, tip="signal-to-noise in decibels"),
    TableColumn("Compared"),
)
_OUTPUTS = (
    TableColumn("Output"),
    TableColumn("Signal-to-noise", numeric=True),
    TableColumn("Largest difference", numeric=True),
    TableColumn("Of the largest value", numeric=True),
    TableColumn("Largest number alike", numeric=True, tip="share of rows whose largest number stands at one place"),
)
# What is beyond rounding stands at the upper edge of the picture.
_MOST_DB = 90.0


def comparison_sections(compared: ModelComparison) -> tuple[PageSection, ...]:
    """Lay out the outputs where rows were answered, then what changed layer by layer."""
    sentence = (
        f"{verdict(compared)}. Decibels are the signal-to-noise of what the second has in the place of the first: "
        "20 dB are errors of a tenth, 40 dB of a hundredth."
    )
    layers = PageTable(_LAYERS, tuple(map(_layer, compared.layers)))
    notes = (*([SCALED] if any(layer.scaled for layer in compared.layers) else []), *compared.notes)
    head = PageSection("comparison", "Side by side", sentence, layers, tuple(_pictures(compared)), notes=notes)
    if not compared.outputs:
        return (head,)
    outputs = PageTable(_OUTPUTS, tuple(map(_output, compared.outputs)))
    return PageSection("outputs", "Outputs", f"On {compared.rows:,} rows, the same for both.", outputs), head


def _pictures(compared: ModelComparison) -> Iterator[ChartPicture]:
    numbered = list(enumerate((layer for layer in compared.layers if layer.name and layer.other), 1))
    points = {
        "weights": [(float(place), layer.weight_db) for place, layer in numbered if layer.weight_db is not None],
        "answers": [(float(place), layer.answer_db) for place, layer in numbered if layer.answer_db is not None],
    }
    shown = {name: [(x, min(_MOST_DB, y)) for x, y in pairs] for name, pairs in points.items() if len(pairs) > 1}
    if shown:
        title = "decibels that are left of each layer"
        yield ChartPicture(lines_over(Curve(title, {}, "layer"), shown, "comparison-layers", log=False), title)


def _layer(layer: LayerDifference) -> tuple[TableCell | str, ...]:
    shapes = ["×".join(map(str, shape)) for shape in (layer.shape, layer.other_shape) if shape]
    formats = [form for form in (layer.precision, layer.other_precision) if form]
    places = [f"after {layer.answered_at}"] * bool(layer.answered_at) + ["scaled"] * layer.scaled
    return (
        layer.name or "–",
        layer.other or "–",
        layer.change,
        " → ".join(dict.fromkeys(shapes)),
        " → ".join(dict.fromkeys(formats)),
        _decibels(layer.weight_db),
        _decibels(layer.answer_db),
        ", ".join(places) or "–",
    )


def _output(output: OutputDifference) -> tuple[TableCell | str, ...]:
    alike = output.decided_alike
    return (
        output.name,
        _decibels(output.decibels),
        number_cell(output.largest, f"{output.largest:.3g}"),
        number_cell(output.relative, f"{output.relative:.2%}"),
        number_cell(alike, None if alike is None else f"{alike:.1%}"),
    )


def _decibels(value: float | None) -> TableCell:
    return number_cell(value, None if value is None else decibel_words(value))

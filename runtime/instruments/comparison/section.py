"""Two models side by side as a section of a page."""

from collections.abc import Iterator

from titrant.runtime.charts.section import Section, SectionTable
from titrant.runtime.charts.series import Curve, lines_over
from titrant.runtime.instruments.comparison.difference import LayerDifference, ModelComparison, OutputDifference
from titrant.runtime.instruments.comparison.words import decibel_words, verdict

_LAYERS = ("Layer", "Became", "Change", "Shape", "Precision", "Weights", "Answers", "Compared")
_OUTPUTS = ("Output", "Signal-to-noise", "Largest difference", "Of the largest value", "Largest number alike")
# What is beyond rounding stands at the upper edge of the picture.
_MOST_DB = 90.0


def comparison_section(found: ModelComparison) -> Section:
    """Lay out what changed layer by layer, and the outputs where rows were answered."""
    sentence = (
        f"{verdict(found)}. Decibels are the signal-to-noise of what the second has in the place of the first: 20 dB are "
        "errors of a tenth, 40 dB of a hundredth."
    )
    layers = SectionTable(_LAYERS, tuple(map(_layer, found.layers)), "", frozenset({5, 6}), 400)
    outputs = SectionTable(_OUTPUTS, tuple(map(_output, found.outputs)), f"outputs on {found.rows:,} rows")
    scaled = any(layer.scaled for layer in found.layers)
    notes = [
        "scaled: compared after each channel was brought to the other's scale, as where a normalization is folded in."
    ] * scaled
    tables = (*([outputs] if found.outputs else []), layers)
    return Section("comparison", "Side by side", sentence, tables, tuple(_pictures(found)), (*notes, *found.notes))


def _pictures(found: ModelComparison) -> Iterator[str]:
    numbered = list(enumerate((layer for layer in found.layers if layer.name and layer.other), 1))
    points = {
        "weights": [
            (float(place), min(_MOST_DB, layer.weight_db)) for place, layer in numbered if layer.weight_db is not None
        ],
        "answers": [
            (float(place), min(_MOST_DB, layer.answer_db)) for place, layer in numbered if layer.answer_db is not None
        ],
    }
    shown = {name: pairs for name, pairs in points.items() if len(pairs) > 1}
    if shown:
        chart = Curve("decibels that are left of each layer", {}, "layer")
        yield lines_over(chart, shown, "comparison-layers", log=False)


def _layer(layer: LayerDifference) -> tuple[str, ...]:
    shapes = [" × ".join(map(str, shape)) for shape in (layer.shape, layer.other_shape) if shape]
    formats = [form for form in (layer.precision, layer.other_precision) if form]
    compared = [f"after {layer.answered_at}"] * bool(layer.answered_at) + ["scaled"] * layer.scaled
    return (
        layer.name or "–",
        layer.other or "–",
        layer.change,
        " → ".join(dict.fromkeys(shapes)),
        " → ".join(dict.fromkeys(formats)),
        "–" if layer.weight_db is None else decibel_words(layer.weight_db),
        "–" if layer.answer_db is None else decibel_words(layer.answer_db),
        ", ".join(compared) or "–",
    )


def _output(output: OutputDifference) -> tuple[str, ...]:
    return (
        output.name,
        decibel_words(output.decibels),
        f"{output.largest:.3g}",
        f"{output.relative:.2%}",
        "–" if output.decided_alike is None else f"{output.decided_alike:.1%}",
    )

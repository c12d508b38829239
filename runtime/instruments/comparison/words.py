"""Write two models side by side as text of at most 100 columns."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from titrant.schema.values.units import counted

if TYPE_CHECKING:
    from titrant.runtime.instruments.comparison.difference import LayerDifference, ModelComparison, OutputDifference

_WIDTH, _MOST_NAME = 100, 34
# More layers than this are shortened to the first, and those that lost most.
_MOST, _FIRST, _WORST = 60, 30, 20
SCALED = "scaled: compared after each channel was brought to the other's scale, as a normalization is folded in"
# Rounding of float32, which nobody needs the digits of.
_EQUAL_DB = 90.0


def comparison_text(found: "ModelComparison", *, whole: bool = False) -> str:
    """Write what changed in a sentence, a line a layer, a line an output."""
    return "\n".join([*wrap(verdict(found), _WIDTH), *_table(found, whole=whole), *_outputs(found), *_notes(found)])


def verdict(found: "ModelComparison") -> str:
    """Say in a sentence what of the first model became what in the second."""
    words = [
        f"{found.count(change):,} {name}"
        for change, name in (("same", "alike"), ("changed", "changed"), ("removed", "removed"), ("added", "added"))
        if found.count(change)
    ]
    return f"{found.first} beside {found.second}: {counted(len(found.layers), 'layer')}, {', '.join(words)}"


def _table(found: "ModelComparison", *, whole: bool) -> Iterator[str]:
    layers: Sequence[LayerDifference] = found.layers
    left_out = 0
    if not whole and len(layers) > _MOST:
        worst = sorted(layers[_FIRST:], key=lambda layer: min(layer.weight_db or 0, layer.answer_db or _EQUAL_DB))[
            :_WORST
        ]
        layers = [*layers[:_FIRST], *(layer for layer in layers[_FIRST:] if layer in worst)]
        left_out = len(found.layers) - len(layers)
    answers = found.rows > 0
    rows = [("layer", "shape", "precision", "weights", *(["answers"] if answers else []))]
    rows += [(*_row(layer), *([_answer(layer)] if answers else [])) for layer in layers]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if left_out:
        yield f"  … {left_out:,} more layers, which lost less (-v shows them)"


def _row(layer: "LayerDifference") -> tuple[str, str, str, str]:
    name = layer.name or layer.other
    if layer.change in ("added", "removed"):
        shape, form = (layer.shape, layer.precision) if layer.name else (layer.other_shape, layer.other_precision)
        return _short(name), _sizes(shape), form, layer.change
    precision = (
        layer.precision if layer.precision == layer.other_precision else f"{layer.precision} → {layer.other_precision}"
    )
    return _short(name), _sizes(layer.shape), precision, _weights(layer)


def _weights(layer: "LayerDifference") -> str:
    if layer.weight_db is None:
        return f"other shape: {_sizes(layer.other_shape)}"
    return decibel_words(layer.weight_db) + (", scaled" if layer.scaled else "")


def _answer(layer: "LayerDifference") -> str:
    if layer.answer_db is None:
        return "–"
    return decibel_words(layer.answer_db) + (f" after {layer.answered_at}" if layer.answered_at else "")


def decibel_words(decibels: float) -> str:
    """Write a signal-to-noise; what is beyond rounding is equal."""
    return "equal" if decibels >= _EQUAL_DB else f"{decibels:.1f} dB"


def _outputs(found: "ModelComparison") -> Iterator[str]:
    for output in found.outputs:
        yield from wrap(output_words(output, found.rows), _WIDTH, subsequent_indent="    ")


def output_words(output: "OutputDifference", rows: int) -> str:
    """Say how far an output is from the other model's."""
    alike = "" if output.decided_alike is None else f"; {output.decided_alike:.1%} of the largest numbers stand alike"
    return (
        f"output {output.name} on {counted(rows, 'row')}: {decibel_words(output.decibels)}, largest difference "
        f"{output.largest:.3g} ({output.relative:.2%} of the largest value){alike}"
    )


def _notes(found: "ModelComparison") -> Iterator[str]:
    if any(layer.scaled for layer in found.layers):
        yield from wrap(SCALED, _WIDTH, subsequent_indent="    ")
    for note in found.notes:
        yield from wrap(f"note: {note}", _WIDTH, subsequent_indent="    ")


def _sizes(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "1"


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"…{name[1 - _MOST_NAME :]}"

"""What differs between two models, layer by layer and output by output, and how that is written as text."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Literal

from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted

_WIDTH, _MOST_NAME = 100, 34
# More layers than this are shortened to the first, and those that lost most.
_MOST, _FIRST, _WORST = 60, 30, 20
SCALED = "scaled: compared after each channel was brought to the other's scale, as a normalization is folded in"
# Rounding of float32, which nobody needs the digits of.
_EQUAL_DB = 90.0

# same: in both, with the same shape and precision. changed: in both. removed, added: in one of them alone.
LayerChange = Literal["same", "changed", "removed", "added"]


@dataclass(frozen=True)
class LayerDifference:
    """A layer of the first model, what became of it in the second, and how far apart they are.

    `name`, `shape` and `precision` are of the first, `other…` of the second; "" and () where it has none. `weight_db`
    is 10 log10 of the squared weights over the squared differences; `scaled` says that each channel was brought to the
    other's scale before, as where a normalization was folded into it. `answer_db` is the same of what the layer
    answered on the rows, `answered_at` the operation behind it whose answer was held against the other's, "" for the
    layer's own. None is what could not be compared.
    """

    name: str
    other: str
    change: LayerChange
    shape: tuple[int, ...] = ()
    other_shape: tuple[int, ...] = ()
    precision: str = ""
    other_precision: str = ""
    weight_db: float | None = None
    scaled: bool = False
    answer_db: float | None = None
    answered_at: str = ""


@dataclass(frozen=True)
class OutputDifference:
    """An output of both: signal-to-noise in decibels, the largest difference, and that as a share of the largest value.

    `decided_alike` is the share of rows, 0..1, whose largest number stands at the same place, None where an output has
    one number a row.
    """

    name: str
    decibels: float
    largest: float
    relative: float
    decided_alike: float | None = None


@dataclass(frozen=True)
class ModelComparison:
    """The layers in the order of the first model, then those that only the second has; outputs where rows were given.

    `rows` counts them. `notes` say what could not be compared.
    """

    first: str
    second: str
    layers: tuple[LayerDifference, ...]
    outputs: tuple[OutputDifference, ...] = ()
    rows: int = 0
    notes: tuple[str, ...] = ()

    def count(self, change: str) -> int:
        """Count the layers of a kind of change."""
        return sum(layer.change == change for layer in self.layers)

    def __str__(self) -> str:
        """Write a table of the layers, and a line for each output."""
        return comparison_text(self)


def comparison_text(compared: ModelComparison, *, whole: bool = False) -> str:
    """Write what changed in a sentence, a line a layer, a line an output."""
    return "\n".join(
        [*wrap(verdict(compared), _WIDTH), *_table(compared, whole=whole), *_outputs(compared), *_notes(compared)]
    )


def verdict(compared: ModelComparison) -> str:
    """Say in a sentence what of the first model became what in the second."""
    words = [
        f"{compared.count(change):,} {name}"
        for change, name in (("same", "alike"), ("changed", "changed"), ("removed", "removed"), ("added", "added"))
        if compared.count(change)
    ]
    return f"{compared.first} beside {compared.second}: {counted(len(compared.layers), 'layer')}, {', '.join(words)}"


def _table(compared: ModelComparison, *, whole: bool) -> Iterator[str]:
    layers: Sequence[LayerDifference] = compared.layers
    left_out = 0
    if not whole and len(layers) > _MOST:
        worst = sorted(layers[_FIRST:], key=lambda layer: min(layer.weight_db or 0, layer.answer_db or _EQUAL_DB))[
            :_WORST
        ]
        layers = [*layers[:_FIRST], *(layer for layer in layers[_FIRST:] if layer in worst)]
        left_out = len(compared.layers) - len(layers)
    answers = compared.rows > 0
    rows = [("layer", "shape", "precision", "weights", *(["answers"] if answers else []))]
    rows += [(*_row(layer), *([_answer(layer)] if answers else [])) for layer in layers]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if left_out:
        yield f"  … {left_out:,} more layers, which lost less (-v shows them)"


def _row(layer: LayerDifference) -> tuple[str, str, str, str]:
    name = layer.name or layer.other
    if layer.change in ("added", "removed"):
        shape, form = (layer.shape, layer.precision) if layer.name else (layer.other_shape, layer.other_precision)
        return _short(name), _sizes(shape), form, layer.change
    precision = (
        layer.precision if layer.precision == layer.other_precision else f"{layer.precision} → {layer.other_precision}"
    )
    return _short(name), _sizes(layer.shape), precision, _weights(layer)


def _weights(layer: LayerDifference) -> str:
    if layer.weight_db is None:
        return f"other shape: {_sizes(layer.other_shape)}"
    return decibel_words(layer.weight_db) + (", scaled" if layer.scaled else "")


def _answer(layer: LayerDifference) -> str:
    if layer.answer_db is None:
        return "–"
    return decibel_words(layer.answer_db) + (f" after {layer.answered_at}" if layer.answered_at else "")


def decibel_words(decibels: float) -> str:
    """Write a signal-to-noise; what is beyond rounding is equal."""
    return "equal" if decibels >= _EQUAL_DB else f"{decibels:.1f} dB"


def _outputs(compared: ModelComparison) -> Iterator[str]:
    for output in compared.outputs:
        yield from wrap(output_words(output, compared.rows), _WIDTH, subsequent_indent="    ")


def output_words(output: OutputDifference, rows: int) -> str:
    """Say how far an output is from the other model's."""
    alike = "" if output.decided_alike is None else f"; {output.decided_alike:.1%} of the largest numbers stand alike"
    return (
        f"output {output.name} on {counted(rows, 'row')}: {decibel_words(output.decibels)}, largest difference "
        f"{output.largest:.3g} ({output.relative:.2%} of the largest value){alike}"
    )


def _notes(compared: ModelComparison) -> Iterator[str]:
    if any(layer.scaled for layer in compared.layers):
        yield from wrap(SCALED, _WIDTH, subsequent_indent="    ")
    for note in compared.notes:
        yield from wrap(f"note: {note}", _WIDTH, subsequent_indent="    ")


def _sizes(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "1"


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"…{name[1 - _MOST_NAME :]}"

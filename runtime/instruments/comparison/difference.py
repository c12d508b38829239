"""What differs between two models, layer by layer and output by output."""

from typing import Literal

from titrant.schema.values.frozen import dataclass

# same: in both, with the same shape and precision. changed: in both. removed, added: in one of them alone.
Change = Literal["same", "changed", "removed", "added"]


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
    change: Change
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
        from titrant.runtime.instruments.comparison.words import comparison_text

        return comparison_text(self)

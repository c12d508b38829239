"""Tell from a model's answers whether its outputs can be of the kind that the recipe says, and of which they look."""

from collections.abc import Iterator

import numpy as np

from titrant.runtime.contract.reading import Reading
from titrant.runtime.values import Outputs
from titrant.schema.recipe.model import CLASSIFYING, OutputKind
from titrant.schema.values.frozen import dataclass

# What rounding may add to a probability, and to the sum of a row: 16-bit numbers carry three digits.
ROUNDING, SUM_ROUNDING = 1e-3, 1e-2
# A sum of probabilities that were stored in steps of 1/256 is off by up to half a step a class, and never by more.
_HALF_STEP, _LARGEST = 1 / 512, 0.5
# In one column nothing but the range tells logits from probabilities. Where a logit lies in 0..1 in at most half of the
# cases, ten in a row do so once in a thousand models; below that many rows nothing is said.
FEWEST_ROWS = 10


@dataclass(frozen=True)
class KindMismatch:
    """An output that is not what it is said to be; `looks` is the kind that its answers have, None where none fits."""

    output: str
    said: OutputKind
    looks: OutputKind | None
    seen: str


def mismatches(reading: Reading, judged: str, outputs: Outputs) -> Iterator[KindMismatch]:
    """Yield every output whose answers contradict its kind: the judged one, and those that the recipe says a kind of.

    Of outputs with more dimensions than (rows, numbers) only the range is looked at: nobody says where the classes lie.
    """
    for name, values in outputs.arrays.items():
        kind = reading.kind(name)
        if kind in CLASSIFYING and len(values) and (name == judged or name in reading.kinds):
            seen = contradiction(kind, values)
            if seen:
                yield KindMismatch(name, kind, _looks(kind, values), seen)


def contradiction(kind: OutputKind, values: np.ndarray) -> str:
    """Say what in answers (rows, …) cannot be of a kind; "" where nothing speaks against it."""
    if kind == "logits":
        other = _looks(kind, values)
        if other is None and _are_scores(values):
            sums = values.astype(np.float64).sum(axis=1)
            return _SCORES.format(count=len(values), low=sums.min(), high=sums.max())
        return "" if other is None else _WORDS[other].format(count=len(values))
    low, high = float(values.min()), float(values.max())
    if kind == "probabilities" and (low < -ROUNDING or high > 1 + ROUNDING):
        return f"they lie between {low:.3g} and {high:.3g}"
    if kind == "log_probabilities" and high > ROUNDING:
        return f"they go up to {high:.3g}, and a logarithm of a probability is 0 at most"
    sums = _sums(values if kind == "probabilities" else np.exp(values.astype(np.float64)))
    if sums is not None and not _are_one(sums, values):
        what = "they" if kind == "probabilities" else "the probabilities that they are logarithms of"
        return f"{what} sum to between {sums.min():.3g} and {sums.max():.3g} in a row"
    return ""


_WORDS = {
    "probabilities": "all of {count} rows lie in 0..1, and sum to 1 where a row has several",
    "log_probabilities": "all of {count} rows are 0 or less, and their exponentials sum to 1",
}
_SCORES = (
    "all of {count} rows lie in 0..1 and sum to between {low:.3g} and {high:.3g}, as a sigmoid for each class does it"
)


def _are_scores(values: np.ndarray) -> bool:
    """Whether every class has a score of its own in 0..1, in more rows than logits would lie there by chance.

    Answers that are all one number tell nothing of what they are.
    """
    several = values.ndim == 2 and values.shape[1] > 1 and len(values) >= FEWEST_ROWS
    return several and bool(0 <= values.min() < values.max() <= 1)


def _looks(said: OutputKind, values: np.ndarray) -> OutputKind | None:
    """Return the kind that answers look like instead; logits where they can be neither of the others."""
    sums = _sums(values)
    in_range = values.min() >= -ROUNDING and values.max() <= 1 + ROUNDING
    enough = sums is not None or (values.ndim <= 2 and len(values) >= FEWEST_ROWS)
    if said != "probabilities" and in_range and enough and (sums is None or _are_one(sums, values)):
        return "probabilities"
    if said != "log_probabilities" and values.max() <= ROUNDING:
        exponentials = _sums(np.exp(values.astype(np.float64)))
        if exponentials is not None and _are_one(exponentials, values):
            return "log_probabilities"
    return None if said == "logits" or in_range else "logits"


def _sums(values: np.ndarray) -> np.ndarray | None:
    """Return the sum of each row that has several numbers; None where they have one, or other dimensions."""
    several = values.ndim == 2 and values.shape[1] > 1
    return values.astype(np.float64).sum(axis=1) if several else None


def _are_one(sums: np.ndarray, values: np.ndarray) -> bool:
    allowed = min(max(SUM_ROUNDING, values.shape[1] * _HALF_STEP), _LARGEST)
    return bool(np.abs(sums - 1).max() <= allowed)

"""Tell from a model's answers what its outputs are: the kind that they can be of, and which is about which class."""

from collections.abc import Iterator

import numpy as np

from titrant.runtime.contract.reading import Reading
from titrant.runtime.values import Outputs, Rows
from titrant.schema.recipe.tasks import CLASSIFYING, TASKS, OutputKind
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
            seen = _out_of_range(kind, values) if TASKS[reading.task].label == "labels" else contradiction(kind, values)
            if seen:
                yield KindMismatch(name, kind, _looks(kind, values), seen)


def _out_of_range(kind: OutputKind, values: np.ndarray) -> str:
    """Say what in answers cannot be of a kind where each number is about a label of its own, and none sum to 1."""
    low, high = float(values.min()), float(values.max())
    if kind == "probabilities" and (low < -ROUNDING or high > 1 + ROUNDING):
        return f"they lie between {low:.3g} and {high:.3g}"
    if kind == "logits" and values.size >= FEWEST_ROWS and 0 <= low < high <= 1:
        return f"all of {len(values)} rows lie in 0..1, as probabilities do"
    return ""


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


@dataclass(frozen=True)
class ClassOrders:
    """The order of the classes that was assumed, and the one that fits best, with their accuracies on `rows` rows.

    The class that stands first belongs to the model's first output.
    """

    given: tuple[str, ...]
    best: tuple[str, ...]
    given_accuracy: float
    best_accuracy: float
    rows: int
    largest: float  # the share of the largest class, which a constant answer has right


def compare_orders(scores: np.ndarray, rows: Rows) -> ClassOrders:
    """Assign classes to the columns of scores (rows, classes) so that most labels are met.

    The labels are counted by the column with the largest score; a maximal assignment of this table is the best order
    (Kuhn, "The Hungarian method for the assignment problem", 1955). Of orders that fit alike the one that leaves more
    classes where they are is taken.
    """
    from scipy.optimize import linear_sum_assignment

    assert rows.labels is not None
    count = len(rows.classes)
    table = np.zeros((count, count), np.int64)
    np.add.at(table, (rows.labels, scores.argmax(axis=1)), 1)
    weighted = table * (count + 1) + np.eye(count, dtype=np.int64)
    classes, columns = linear_sum_assignment(weighted, maximize=True)
    by_column = classes[np.argsort(columns)]
    met = int(table[by_column, np.arange(count)].sum())
    return ClassOrders(
        given=rows.classes,
        best=tuple(rows.classes[index] for index in by_column),
        given_accuracy=float(np.trace(table) / len(rows)),
        best_accuracy=met / len(rows),
        rows=len(rows),
        largest=float(np.bincount(rows.labels, minlength=count).max()) / len(rows),
    )


def order_words(classes: tuple[str, ...], most: int = 10) -> str:
    """Write an order as a recipe does, `[good, bad]`; only the first ones of many."""
    from titrant.schema.language.write import flow

    return flow([*classes[:most], *(["…"] if len(classes) > most else [])])


def order_line(classes: tuple[str, ...]) -> str:
    """Write the line of a recipe that states an order, all of it."""
    from titrant.schema.language.write import flow

    return f"data: {flow({'classes': list(classes)})}"

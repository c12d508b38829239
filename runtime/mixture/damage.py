"""Say in one number how far a model's answers moved from those that it gave: of nothing moved it is 0.

Accuracy is too coarse for that: few rows change their class, and which is chance.
"""

from collections.abc import Sequence

import numpy as np

from titrant.runtime.contract.answers import class_probabilities
from titrant.runtime.contract.reading import Reading
from titrant.runtime.values import Outputs, Rows
from titrant.schema.recipe.tasks import CLASSIFYING, TASKS

# A probability below counts as this: what was quantized may call impossible what happens.
_LEAST = 1e-12
_LEAST_RANKED = 3


def damage(reading: Reading, rows: Rows, original: Outputs, moved: Outputs) -> float:
    """Return how far `moved` is from `original`, 0 or more, as a mean over the rows.

    For a task with classes, and outputs that are said to hold logits or probabilities of several classes, the
    Kullback-Leibler divergence KL(original || moved) in nats; for others the squared error relative to the squares of
    the original's answers. Several outputs add up. Raises StepError X420 where outputs do not fit the rows.
    """
    if TASKS[reading.task].label == "class":
        before, after = (class_probabilities(reading, rows, outputs) for outputs in (original, moved))
        return divergence(before, after)
    return sum(
        (_of_output(reading, name, before, moved.arrays[name]) for name, before in original.arrays.items()), start=0.0
    )


def divergence(before: np.ndarray, after: np.ndarray) -> float:
    """Return the mean KL(before || after) of probabilities (…, classes), in nats."""
    raised, floor = np.maximum(after, _LEAST), np.maximum(before, _LEAST)
    moved = (before * (np.log(floor) - np.log(raised))).sum(-1)
    return max(float(moved.mean()), 0.0)


def _of_output(reading: Reading, name: str, before: np.ndarray, after: np.ndarray) -> float:
    before, after, kind = before.astype(np.float64), after.astype(np.float64), reading.kind(name)
    if kind in CLASSIFYING and before.ndim > 1 and before.shape[-1] > 1:
        return divergence(as_probabilities(kind, before), as_probabilities(kind, after))
    squares = float(np.square(before).sum())
    error = float(np.square(after - before).sum())
    return error / squares if squares else error


def as_probabilities(kind: str, values: np.ndarray) -> np.ndarray:
    """Return probabilities (…, classes) of an output of some kind: logits, or logarithms of them, by softmax."""
    if kind == "probabilities":
        return values
    shifted: np.ndarray = np.exp(values - values.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def silenced(outputs: Outputs) -> Outputs:
    """Return the outputs of a model that answers every row alike, by its mean answer."""
    arrays = {name: np.broadcast_to(values.mean(axis=0), values.shape) for name, values in outputs.arrays.items()}
    return Outputs(outputs.role, arrays)


def spread(count: int, most: int) -> np.ndarray:
    """Return `most` places of `count` rows at even distances, all of them where there are no more; sorted.

    Files are often sorted by class, so that the first rows are no sample.
    """
    return np.arange(count) if count <= most else np.arange(most) * count // most


def spread_over(rows: Rows, most: int, subgroups: Sequence[str]) -> np.ndarray:
    """Return places of at most about `most` rows as `spread` does, as many of every value of these subgroups.

    Of a value that has fewer all are taken, so that what a region does to the few shows as what it does to the many.
    """
    places = [
        np.flatnonzero(rows.subgroups[name] == value) for name in subgroups for value in np.unique(rows.subgroups[name])
    ]
    if not places:
        return spread(len(rows), most)
    share = max(min(most, len(rows)) // len(places), 1)
    return np.unique(np.concatenate([those[spread(len(those), share)] for those in places]))


def rank_correlation(estimated: Sequence[float], measured: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation, ties at their mean rank; None for fewer than three or equal values."""
    if len(estimated) < _LEAST_RANKED or len(set(estimated)) == 1 or len(set(measured)) == 1:
        return None
    return float(np.corrcoef(_ranks(estimated), _ranks(measured))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks

"""Say how far a pruned model's answers moved, for models that nobody told what their outputs mean."""

import numpy as np

from titrant.runtime.mixture.damage import as_probabilities, divergence

_ONE = 1e-4


def moved(before: np.ndarray, after: np.ndarray) -> float:
    """Return the mean KL(before || after) in nats of answers over several classes or of one logit, 0 or more.

    Answers (rows, …, classes) that are each a distribution count as probabilities, all others as logits. Without
    classes, as of one number a row, that number is the logit of one of two.
    """
    before, after = (np.asarray(array, np.float64) for array in (before, after))
    if before.ndim < 2 or before.shape[-1] == 1:
        flat = (array.reshape(-1, 1) for array in (before, after))
        before, after = (np.concatenate([np.zeros_like(array), array], axis=1) for array in flat)
    kind = "probabilities" if _sums_to_one(before) and _sums_to_one(after) else "logits"
    return divergence(as_probabilities(kind, before), as_probabilities(kind, after))


def _sums_to_one(values: np.ndarray) -> bool:
    return bool((values >= 0).all() and (np.abs(values.sum(-1) - 1) < _ONE).all())

"""Answer tuning rows with a model whole and cut, and say how far the answers moved."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.session import insisted_batch
from titrant.runtime.backends.torch.arguments import arguments_of
from titrant.runtime.backends.torch.call import call, named
from titrant.runtime.backends.torch.pruning.cut import cut_for_now
from titrant.runtime.mixture.damage import as_probabilities, divergence, spread
from titrant.runtime.values import Rows, TorchModel

_BATCH = 64
# How far the sum of a distribution may be from 1.
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


class TuningAnswers:
    """What a model answers to some tuning rows, and how far that moves with a cut."""

    def __init__(self, model: TorchModel, rows: Rows, count: int) -> None:
        self._model = model
        self._size = insisted_batch(model.inputs) or _BATCH
        places = spread(len(rows), count)
        self._arrays = {name: rows.inputs[name][places] for name, _, _ in model.inputs if name in rows.inputs}
        self._arguments = arguments_of(model.module, tuple(self._arrays))
        self._before = self._answer()

    def moved(self, record: Mapping[str, Any]) -> float:
        """Return the KL divergence of the cut model's answers from the whole one's, in nats."""
        with cut_for_now(self._model.module, record):
            after = self._answer()
        return float(sum(moved(self._before[name], array) for name, array in after.items()))

    def _answer(self) -> dict[str, np.ndarray]:
        parts: dict[str, list[np.ndarray]] = {}
        rows = len(next(iter(self._arrays.values())))
        insisted = insisted_batch(self._model.inputs) or 1
        with torch.inference_mode():
            for start in range(0, rows - insisted + 1, self._size):
                batch = {name: array[start : start + self._size] for name, array in self._arrays.items()}
                answer = call(self._model.module, batch, arguments=self._arguments)
                for name, tensor in named(answer, self._model.outputs).items():
                    if tensor.is_floating_point():
                        parts.setdefault(name, []).append(tensor.float().numpy())
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

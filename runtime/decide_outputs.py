"""Turn a classifier's outputs into probabilities and decisions at an operating point."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Decided:
    """`probabilities`: (rows, classes) float64; `indices`: (rows,) int64 index into the classes."""

    probabilities: np.ndarray
    indices: np.ndarray


@dataclass(frozen=True)
class Deciding:
    """How outputs are read: `reading` as in `titrant.runtime.contract.reading`, and the operating point."""

    reading: Mapping[str, Any]
    point: Mapping[str, Any]
    classes: tuple[str, ...]
    positive: int | None

    def decide(self, outputs: Mapping[str, np.ndarray]) -> Decided | None:
        """Decide every row; None for a task without classes.

        A single column is the score of the second class. With a threshold the positive class (the second, where none
        is named) is decided from that probability on; without one the most probable class is.
        """
        if self.reading.get("task") == "unlabeled" or not self.classes:
            return None
        name = self.reading.get("output") or next(iter(outputs))
        logits = self.reading.get("kinds", {}).get(name, "logits") == "logits"
        probabilities = _probabilities(np.asarray(outputs[name], dtype=np.float64), logits)
        if self.point.get("kind") != "threshold":
            return Decided(probabilities, probabilities.argmax(axis=1))
        positive = 1 if self.positive is None else self.positive
        chosen = probabilities[:, positive] >= self.point["threshold"]
        return Decided(probabilities, np.where(chosen, positive, 1 - positive))


def _probabilities(scores: np.ndarray, logits: bool) -> np.ndarray:
    scores = scores.reshape(len(scores), -1)
    if scores.shape[1] == 1:
        second = 1 / (1 + np.exp(-np.clip(scores, -700, 700))) if logits else scores
        return np.concatenate([1 - second, second], axis=1)
    if not logits:
        return scores
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares

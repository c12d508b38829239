"""Numbers against numbers: absolute and squared errors of each case."""

from typing import Self

import numpy as np

from titrant.runtime.contract.tasks.cases import CaseAnswers, JudgedOutput, misfit
from titrant.runtime.contract.tasks.scores import CaseScores, Unassessable
from titrant.runtime.data.classes import flat
from titrant.runtime.values import Rows

# What follows from squares, and what from distances.
_SQUARED = ("rmse", "r2")


class RegressionAnswers(CaseAnswers):
    """Numbers for numbers: `original` and `candidate` (rows, numbers), beside the labels.

    A case's error is the mean over its numbers. No bound holds for errors that may be anything: a case that was not
    seen is taken to err by no more than the range of the labels, or the largest error of either model that was seen.
    """

    task = "regression"

    def __init__(self, rows: Rows, original: np.ndarray, candidate: np.ndarray) -> None:
        super().__init__(rows)
        self._labels = _labels(rows)
        self._original, self._candidate = original, candidate

    @classmethod
    def read(cls, rows: Rows, output: JudgedOutput) -> Self:
        """Read both models' numbers; StepError X420 where they are not as many as the label's."""
        width = _labels(rows).shape[1]
        numbers = [flat(values) for values in (output.original, output.candidate)]
        for given in numbers:
            if given.shape[1] != width:
                message = f"the output '{output.name}' has {given.shape[1]} numbers a case, and the label {width}"
                raise misfit(message)
        return cls(rows, *numbers)

    def scores(self, metric: str, chosen: np.ndarray, class_name: str = "") -> CaseScores:
        """Return absolute errors, or squared ones, and how far each label is from their mean."""
        if class_name:
            raise Unassessable("numbers have no classes")
        power = 2 if metric in _SQUARED else 1
        labels = self._labels[chosen]
        old, new = (
            (np.abs(values[chosen] - labels) ** power).mean(axis=1) for values in (self._original, self._candidate)
        )
        spread = ((labels - labels.mean(axis=0)) ** 2).mean(axis=1) if metric == "r2" else None
        if spread is not None and not spread.any():
            raise Unassessable("all labels are equal, and there is nothing to explain")
        return CaseScores(metric, old, new, self.rows.units[chosen], 0.0, self._furthest**power, spread=spread)

    def shown(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the labels and both models' numbers, (rows, numbers) float64 each."""
        return self._labels, self._original, self._candidate

    @property
    def _furthest(self) -> float:
        """The most that a case is taken to err by."""
        seen = max(float(np.abs(values - self._labels).max()) for values in (self._original, self._candidate))
        return max(seen, float(np.ptp(self._labels, axis=0).max()))

    def permuted(self, order: np.ndarray) -> "RegressionAnswers":
        """Give every row the original's answer to another one."""
        return RegressionAnswers(self.rows, self._original, self._original[order])

    def broken(self, rows: np.ndarray, class_name: str = "") -> "RegressionAnswers":  # noqa: ARG002 - of no class
        """Answer some rows with the end of the labels' range that is further from the label."""
        low, high = self._labels.min(axis=0), self._labels.max(axis=0)
        worst = np.where(self._labels - low > high - self._labels, low, high)
        return RegressionAnswers(self.rows, self._original, np.where(rows[:, None], worst, self._original))

    def constant(self) -> "tuple[RegressionAnswers, str]":
        """Answer the median label always, which no other constant beats in absolute error."""
        median = np.median(self._labels, axis=0)
        words = ", ".join(f"{number:.4g}" for number in median.tolist()[:3])
        return RegressionAnswers(self.rows, self._original, np.broadcast_to(median, self._labels.shape)), words

    @property
    def identical(self) -> bool:
        """Whether both models give the same numbers."""
        return np.array_equal(self._original, self._candidate)


def _labels(rows: Rows) -> np.ndarray:
    if rows.targets is None:
        raise Unassessable("there are no labels")
    return flat(rows.targets).astype(np.float64)

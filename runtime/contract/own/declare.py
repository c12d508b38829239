"""Declare a function of the user's own to be a metric of the contract, and what it is called with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from titrant.schema.own_metric import OwnMetric, own_metric

Function = TypeVar("Function", bound=Callable[..., Any])
_DECLARED = "titrant_metric"


@dataclass(frozen=True)
class MetricCases:
    """One model's answers to labeled cases, which a metric of the user's own is called with; all arrays are read-only.

    `labels` and `decisions` are (cases,) int64 indices into `classes`, decisions those at the operating point;
    `probabilities` (cases, classes) float64. `positive` is the index of `data.positive`, or None.
    """

    labels: np.ndarray
    decisions: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]
    positive: int | None = None

    def __len__(self) -> int:
        return len(self.labels)


def metric(
    *, better: Literal["higher", "lower"], range: tuple[float, float], unit: Literal["case", "set"]
) -> Callable[[Function], Function]:
    """Declare a function of `MetricCases` to be a metric, which gates and `validation.baseline` name as `module:name`.

    `better` says which way is better, `range` the lowest and the highest number possible. With `unit="case"` it returns
    a number for each case (cases,), which does not depend on the other cases, and is compared as a mean; with "set" one
    number for all of them. Recipes are checked without running the function, so that the three are written as literals.
    Raises ValueError for a declaration that says nothing.
    """
    declared = own_metric(better, range, unit)

    def declare(function: Function) -> Function:
        setattr(function, _DECLARED, declared)
        return function

    return declare


def declaration(function: Any) -> OwnMetric | None:
    """Return what `metric` declared of a function; None where it did not."""
    declared = getattr(function, _DECLARED, None)
    return declared if isinstance(declared, OwnMetric) else None

"""A metric of the user's own on tuning rows, by which the search chooses, and how far chance moves it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.measures.own_metric import MetricCases, both_models, case_values, function_of, set_value
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.recipe.own_metric import OwnMetric

# Parts of the rows that are left out in turn, and the fewest of them that say how far a figure spreads.
_PARTS, _FEWEST = 20, 5


def own_objective(reference: str, own: OwnMetric, evidence: Evidence) -> dict[str, Any]:
    """Return {"better", "low", "high", "original", "candidate", "error"} of one metric on these rows.

    "error" is the standard error of the difference of both models, by the jackknife with 20 parts of the units left out
    in turn (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 11); null where there are too few units, or
    the metric has no number without one of the parts. Raises StepError X605 where it has none of all rows.
    """
    ask = _asking(reference, own, evidence)
    every = np.ones(len(evidence.rows), bool)
    try:
        original, candidate = ask(every)
    except Unassessable as unassessable:
        raise _no_number(reference, str(unassessable)) from None
    return {
        "better": own.better,
        "low": own.low,
        "high": own.high,
        "original": original,
        "candidate": candidate,
        "error": _error(ask, evidence.rows.units),
    }


def _asking(reference: str, own: OwnMetric, evidence: Evidence) -> Callable[[np.ndarray], tuple[float, float]]:
    """Return what gives both models' numbers of some rows, (rows,) bool; a number by case is asked for once."""
    models: tuple[MetricCases, MetricCases] | None = None
    values: tuple[np.ndarray, np.ndarray] | None = None

    def ask(chosen: np.ndarray) -> tuple[float, float]:
        nonlocal models, values
        models = models or both_models(evidence)
        if own.unit == "case":
            values = values or (case_values(reference, own, models[0]), case_values(reference, own, models[1]))
            return float(values[0][chosen].mean()), float(values[1][chosen].mean())
        function, places = function_of(reference, own), np.flatnonzero(chosen)
        before, after = (set_value(function, reference, own, cases.at(places)) for cases in models)
        return before, after

    return ask


def _error(ask: Callable[[np.ndarray], tuple[float, float]], units: np.ndarray) -> float | None:
    _, unit_of_row = np.unique(units, return_inverse=True)
    part_of_row = unit_of_row % _PARTS
    parts = np.unique(part_of_row)
    if len(parts) < _FEWEST:
        return None
    try:
        without = [ask(part_of_row != part) for part in parts]
    except Unassessable:
        return None
    gains = np.array([after - before for before, after in without])
    return math.sqrt((len(parts) - 1) * float(gains.var()))


def _no_number(reference: str, reason: str) -> StepError:
    message = f"search.objective: {reference} has no number on the tuning rows: {reason}"
    advice = "a metric that the search is after has a number of every set of cases; take it as a gate, or mend it"
    return StepError(Diagnostic("X605", message, help=advice, key="search.objective"))

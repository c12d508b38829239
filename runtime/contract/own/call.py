"""Call a user's own metric on both models' answers, and refuse numbers that are none, or not what it declares."""

from collections.abc import Callable
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, Unassessable
from titrant.runtime.contract.own.declare import MetricCases, declaration
from titrant.runtime.user_code import call, reason_of, resolve
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.own_metric import OwnMetric

# Numbers of the same case, asked for beside other cases, agree within this of their range.
_SAME = 1e-9


def function_of(reference: str, own: OwnMetric) -> Callable[..., Any]:
    """Import a metric; StepError X620 where it declares something else than what it was planned with, X150, X108."""
    function = resolve(reference)
    declared = declaration(function)
    if declared != own:
        said = "declares nothing" if declared is None else f"declares {_words(declared)}"
        message = f"{reference} {said}, and the plan was made for {_words(own)}"
        raise StepError(Diagnostic("X620", message, help="write the decorator's arguments as literals, and plan again"))
    return function


def _words(own: OwnMetric) -> str:
    return f"a metric by {own.unit}, {own.better} is better, {own.low:g} to {own.high:g}"


def case_values(reference: str, own: OwnMetric, evidence: Evidence, answers: Answers) -> np.ndarray:
    """Return the metric of each case, (rows,) float64.

    It is asked again for every second case: a number that depends on which others there are is none of a case. Raises
    Unassessable where the function raises, or its answer is not a number within the range for each case.
    """
    function = function_of(reference, own)
    labels = _labels(evidence)
    values = _called(function, reference, cases_of(evidence, answers, labels))
    if values.shape != (len(labels),):
        shape = "×".join(map(str, values.shape)) or "one number"
        raise Unassessable(f"{reference} answers with {shape} for {len(labels)} cases, and a number for each is due")
    _refuse_outside(reference, own, values)
    every_second = np.arange(0, len(labels), 2)
    again = _called(function, reference, cases_of(evidence, answers.of(every_second), labels[every_second]))
    slack = _SAME * max(1.0, own.high - own.low)
    if again.shape != (len(every_second),) or not np.allclose(again, values[every_second], rtol=0, atol=slack):
        raise Unassessable(
            f"what {reference} answers for a case depends on which other cases there are: declare it with unit='set'"
        )
    return values


def set_value(function: Callable[..., Any], reference: str, own: OwnMetric, cases: MetricCases) -> float:
    """Return the metric of all cases; Unassessable as `case_values`."""
    value = _called(function, reference, cases)
    if value.shape not in ((), (1,)):
        shape = "×".join(map(str, value.shape))
        raise Unassessable(f"{reference} answers with {shape} numbers, and one for all cases is due")
    _refuse_outside(reference, own, value)
    return float(value.reshape(()))


def cases_of(evidence: Evidence, answers: Answers, labels: np.ndarray) -> MetricCases:
    """Write one model's answers as what a metric is called with."""
    rows = evidence.rows
    labels, decisions, scores = (_read_only(array) for array in (labels, answers.decisions, answers.probabilities))
    return MetricCases(labels, decisions, scores, rows.classes, rows.positive)


def _labels(evidence: Evidence) -> np.ndarray:
    if evidence.rows.labels is None:
        raise Unassessable("there are no labels")
    return evidence.rows.labels


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _called(function: Callable[..., Any], reference: str, cases: MetricCases) -> np.ndarray:
    try:
        return np.asarray(call(reference, function, cases), dtype=np.float64)
    except StepError as error:
        raise Unassessable(f"{reference} raised {reason_of(error)}") from None
    except (TypeError, ValueError):
        raise Unassessable(f"what {reference} answers are no numbers") from None


def _refuse_outside(reference: str, own: OwnMetric, values: np.ndarray) -> None:
    which = " for some cases" if values.ndim else ""
    if not np.isfinite(values).all():
        raise Unassessable(f"{reference} answers NaN or infinity{which}")
    side = "below" if (values < own.low).any() else "above" if (values > own.high).any() else ""
    if side:
        # Not which number: that of a case is a figure about one person.
        raise Unassessable(f"{reference} declares a range of {own.low:g} to {own.high:g}, and lies {side} it{which}")

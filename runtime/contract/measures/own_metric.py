"""A metric of the user's own: how a function declares itself to be one, what it is called with, and what is refused."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.user_code import call, reason_of, resolve
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.recipe.own_metric import OwnMetric, own_metric
from titrant.schema.recipe.tasks import TASKS

Function = TypeVar("Function", bound=Callable[..., Any])
_DECLARED = "titrant_metric"
# Numbers of the same case, asked for beside other cases, agree within this of their range.
_SAME = 1e-9


@dataclass(frozen=True)
class MetricCases:
    """One model's answers to labeled cases, which a metric of the user's own is called with; all arrays are read-only.

    With classes `labels` and `decisions` are (cases,) int64 indices into `classes`, decisions those at the operating
    point, and `probabilities` (cases, classes) float64; `positive` is the index of `data.positive`, or None. With
    numbers (regression) `labels` and `numbers` are (cases, numbers) float64; with several labels a case `labels` says
    which it has, 0 or 1, and `numbers` the probability of each. With masks `labels` and `decisions` are (cases, height,
    width), the class of each pixel. With boxes `labels` are (cases, boxes, 5) left, top, right, bottom and class, NaN
    where there is none, and `numbers` (cases, boxes, 6) with a score before the class, -1 where there is none. With
    tokens `labels` (cases, length) are those to give, -100 where none is, `decisions` the likeliest ones, -1 there, and
    `numbers` the log-likelihood of each label in nats, 0 there. What a task does not have is None.
    """

    labels: np.ndarray
    decisions: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    numbers: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    positive: int | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, places: np.ndarray) -> "MetricCases":
        """Return some of the cases, by place, also with repetition."""

        def part(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else _read_only(array[places])

        return replace(
            self,
            labels=_read_only(self.labels[places]),
            decisions=part(self.decisions),
            probabilities=part(self.probabilities),
            numbers=part(self.numbers),
        )


def metric(
    *, better: Literal["higher", "lower"], range: tuple[float, float], unit: Literal["case", "set"]
) -> Callable[[Function], Function]:
    """Declare a function of `MetricCases` to be a metric, for gates, `validation.baseline` and `search.objective`.

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


def function_of(reference: str, own: OwnMetric) -> Callable[..., Any]:
    """Import a metric; StepError X620 where it declares something else than it was planned with, X150, X108."""
    function = resolve(reference)
    declared = declaration(function)
    if declared != own:
        said = "declares nothing" if declared is None else f"declares {_words(declared)}"
        message = f"{reference} {said}, and the plan was made for {_words(own)}"
        raise StepError(Diagnostic("X620", message, help="write the decorator's arguments as literals, and plan again"))
    return function


def _words(own: OwnMetric) -> str:
    return f"a metric by {own.unit}, {own.better} is better, {own.low:g} to {own.high:g}"


def both_models(evidence: Evidence) -> tuple[MetricCases, MetricCases]:
    """Return what a metric is called with, of the original and of the candidate; Unassessable without labels."""
    if evidence.cases is not None and (shown := evidence.cases.shown()) is not None:
        targets, *numbers = (_read_only(array) for array in shown)
        if TASKS[evidence.cases.task].label == "mask":
            old, new = (MetricCases(targets, array, classes=evidence.rows.classes) for array in numbers)
            return old, new
        if TASKS[evidence.cases.task].label == "tokens":
            old, new = (
                MetricCases(targets, _read_only(array[..., 0].astype(np.int64)), numbers=_read_only(array[..., 1]))
                for array in numbers
            )
            return old, new
        original, candidate = (MetricCases(targets, numbers=array, classes=evidence.rows.classes) for array in numbers)
        return original, candidate
    labels, answers = evidence.rows.labels, (evidence.original, evidence.candidate)
    if labels is None or answers[0] is None or answers[1] is None:
        raise Unassessable("there are no labels")
    return _of_classes(evidence, labels, answers[0]), _of_classes(evidence, labels, answers[1])


def _of_classes(evidence: Evidence, labels: np.ndarray, answers: Answers) -> MetricCases:
    arrays = (labels, answers.decisions, answers.probabilities)
    labels, decisions, probabilities = (_read_only(array) for array in arrays)
    rows = evidence.rows
    return MetricCases(labels, decisions, probabilities, classes=rows.classes, positive=rows.positive)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def case_values(reference: str, own: OwnMetric, cases: MetricCases) -> np.ndarray:
    """Return the metric of each case, (cases,) float64.

    It is asked again for every second case: a number that depends on which others there are is none of a case. Raises
    Unassessable where the function raises, or its answer is not a number within the range for each case.
    """
    function = function_of(reference, own)
    values = _called(function, reference, cases)
    if values.shape != (len(cases),):
        shape = "×".join(map(str, values.shape)) or "one number"
        raise Unassessable(f"{reference} answers with {shape} for {len(cases)} cases, and a number for each is due")
    _refuse_outside(reference, own, values)
    every_second = np.arange(0, len(cases), 2)
    again = _called(function, reference, cases.at(every_second))
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

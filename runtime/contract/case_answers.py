"""Read the answers of a task that has no classes, and say what they are worth by the task's own metrics."""

from importlib import import_module
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import judged_output
from titrant.runtime.contract.metrics import FEWEST_ROWS, ConstantComparison
from titrant.runtime.contract.reading import Reading
from titrant.runtime.contract.tasks.cases import CaseAnswers, JudgedOutput, misfit
from titrant.runtime.contract.tasks.scores import CaseClaims, compared
from titrant.runtime.values import Outputs, Rows
from titrant.schema.recipe.tasks import TASKS

# task → the module of contract/tasks that reads its answers, and its class
_READERS = {"regression": ("regression", "RegressionAnswers")}


def case_answers(reading: Reading, rows: Rows, original: Outputs, candidate: Outputs) -> CaseAnswers | None:
    """Read both models' outputs as the task does; None for a task with classes, and where there are no labels.

    Raises StepError X420 when the outputs do not fit the rows.
    """
    reader = _READERS.get(reading.task)
    if reader is None or rows.targets is None:
        return None
    module, name = reader
    answers: type[CaseAnswers] = getattr(import_module(f"titrant.runtime.contract.tasks.{module}"), name)
    judged = judged_output(reading, original)
    old, new = (_values(reading, rows, outputs) for outputs in (original, candidate))
    return answers.read(rows, JudgedOutput(judged, reading.kind(judged), old, new))


def _values(reading: Reading, rows: Rows, outputs: Outputs) -> np.ndarray:
    """Return the numbers of the judged output, (rows, …) float64; StepError X420 for other rows."""
    name = judged_output(reading, outputs)
    values = outputs.arrays[name].astype(np.float64)
    if len(values) != len(rows):
        raise misfit(f"the output '{name}' has {len(values)} rows, and there are {len(rows)} cases")
    return values


def case_quality(cases: CaseAnswers, confidence: float) -> dict[str, Any]:
    """Return {"metric", "original", "candidate", "retention", "kept_at_least"}.

    "metric" is the task's main one, "retention" what of it is kept, null where the original's is 0, and "kept_at_least"
    its one-sided bound. The others are {metric: number or null}.
    """
    every = np.arange(len(cases.rows))
    before, after = cases.figures(every)
    metric = TASKS[cases.task].main
    scores = cases.scores(metric, every)
    kept = compared(scores, "retention")
    lower = None if kept is None else CaseClaims(scores, "retention", confidence).bounds()[0]
    return {"metric": metric, "original": before, "candidate": after, "retention": kept, "kept_at_least": lower}


def compare_cases_with_constant(cases: CaseAnswers) -> ConstantComparison | None:
    """Compare the original with the best constant answer by the main metric; None where these rows cannot tell."""
    if len(cases.rows) < FEWEST_ROWS or (best := cases.constant()) is None:
        return None
    constant, words = best
    scores = constant.scores(TASKS[cases.task].main, np.arange(len(cases.rows)))
    if scores.before is None or scores.after is None:
        return None
    return ConstantComparison(scores.metric, scores.before, scores.after, words, len(cases.rows), False)

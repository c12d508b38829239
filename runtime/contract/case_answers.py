"""Read the answers of a task that has no classes, and say what they are worth by the task's own metrics."""

from importlib import import_module
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import judged_output, same_answers
from titrant.runtime.contract.metrics import FEWEST_ROWS, ConstantComparison
from titrant.runtime.contract.reading import Reading
from titrant.runtime.contract.tasks.cases import CaseAnswers, JudgedOutput, misfit
from titrant.runtime.contract.tasks.scores import CaseClaims, Unassessable, compared
from titrant.runtime.contract.tasks.tokens import same_tokens
from titrant.runtime.values import Outputs, Rows
from titrant.schema.recipe.tasks import OPTIONAL_LABELS, SET_METRICS, TASKS

# task → the module of contract/tasks that reads its answers, and its class
_READERS = {
    "regression": ("regression", "RegressionAnswers"),
    "multilabel_classification": ("multilabel", "MultilabelAnswers"),
    "segmentation": ("segmentation", "SegmentationAnswers"),
    "detection": ("detection", "DetectionAnswers"),
    "language_modeling": ("language", "LanguageAnswers"),
    "embedding": ("embedding", "EmbeddingAnswers"),
}


def answered_alike(reading: Reading, rows: Rows, original: Outputs, candidate: Outputs) -> np.ndarray:
    """Say for each case whether both models answer alike, (rows,) bool: token for token, else by `reading.agreement`.

    Raises StepError X420 when the outputs do not fit each other or the rows.
    """
    if TASKS[reading.task].label == "tokens":
        return same_tokens(*(_values(reading, rows, outputs) for outputs in (original, candidate)))
    return same_answers(reading, rows, original, candidate)


def case_answers(reading: Reading, rows: Rows, original: Outputs, candidate: Outputs) -> CaseAnswers | None:
    """Read both models' outputs as the task does; None for a task with classes, and where there are no labels.

    Raises StepError X420 when the outputs do not fit the rows.
    """
    reader = _READERS.get(reading.task)
    if reader is None or (rows.targets is None and TASKS[reading.task].label not in OPTIONAL_LABELS):
        return None
    module, name = reader
    answers: type[CaseAnswers] = getattr(import_module(f"titrant.runtime.contract.tasks.{module}"), name)
    judged = judged_output(reading, original)
    old, new = (_values(reading, rows, outputs) for outputs in (original, candidate))
    return answers.read(rows, JudgedOutput(judged, reading.kind(judged), old, new, reading.score))


def _values(reading: Reading, rows: Rows, outputs: Outputs) -> np.ndarray:
    """Return the numbers of the judged output, (rows, …), where they are labels float64; X420 for other rows."""
    name = judged_output(reading, outputs)
    values = outputs.arrays[name]
    if TASKS[reading.task].label in ("numbers", "labels"):
        values = values.astype(np.float64)
    if len(values) != len(rows):
        raise misfit(f"the output '{name}' has {len(values)} rows, and there are {len(rows)} cases")
    return values


def case_quality(cases: CaseAnswers, confidence: float) -> dict[str, Any]:
    """Return {"metric", "original", "candidate", "retention", "kept_at_least"}.

    "metric" is the task's main one, "retention" what of it is kept, null where the original's is 0 or these rows do not
    define it, and "kept_at_least" its one-sided bound. The others are {metric: number or null}.
    """
    every = np.arange(len(cases.rows))
    before, after = cases.figures(every)
    metric = TASKS[cases.task].main
    if metric in SET_METRICS:  # resampled where it is judged; here it only chooses
        old, new = before[metric], after[metric]
        share = new / old if old and new is not None else None
        return {"metric": metric, "original": before, "candidate": after, "retention": share, "kept_at_least": None}
    kept = lower = None
    try:
        scores = cases.scores(metric, every)
    except Unassessable:
        pass  # so few rows say nothing of what is kept
    else:
        kept = compared(scores, "retention")
        lower = None if kept is None else CaseClaims(scores, "retention", confidence).bounds()[0]
    return {"metric": metric, "original": before, "candidate": after, "retention": kept, "kept_at_least": lower}


def compare_cases_with_constant(cases: CaseAnswers) -> ConstantComparison | None:
    """Compare the original with the best constant answer by the main metric; None where these rows cannot tell."""
    if len(cases.rows) < FEWEST_ROWS or (best := cases.constant()) is None:
        return None
    constant, words = best
    metric, every = TASKS[cases.task].main, np.arange(len(cases.rows))
    if metric in SET_METRICS:
        before, after = (figures[metric] for figures in constant.figures(every))
    else:
        try:
            scores = constant.scores(metric, every)
        except Unassessable:
            return None
        before, after = scores.before, scores.after
    if before is None or after is None:
        return None
    return ConstantComparison(metric, before, after, words, len(cases.rows), False)

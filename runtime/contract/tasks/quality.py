"""What a candidate's answers are worth by a task's own metrics, to choose by."""

from typing import Any

import numpy as np

from titrant.runtime.contract.metrics import FEWEST_ROWS, ConstantComparison
from titrant.runtime.contract.tasks.cases import CaseAnswers
from titrant.runtime.contract.tasks.scores import Claims, compared
from titrant.schema.tasks import TASKS


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
    lower = None if kept is None else Claims(scores, "retention", confidence).bounds()[0]
    return {"metric": metric, "original": before, "candidate": after, "retention": kept, "kept_at_least": lower}


def compare_cases_with_constant(cases: CaseAnswers) -> ConstantComparison | None:
    """Compare the original with the best constant answer by the main metric; None where these rows cannot tell."""
    if len(cases.rows) < FEWEST_ROWS or (found := cases.constant()) is None:
        return None
    constant, words = found
    scores = constant.scores(TASKS[cases.task].main, np.arange(len(cases.rows)))
    if scores.before is None or scores.after is None:
        return None
    return ConstantComparison(
        scores.metric, scores.before, scores.after, words, len(cases.rows), False, scores.rule.less_is_better
    )

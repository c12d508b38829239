"""Which class reads the answers of which task."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.contract.answers import same_answers
from titrant.runtime.contract.reading import Reading
from titrant.runtime.contract.tasks.tokens import same_tokens
from titrant.runtime.values import Outputs, Rows
from titrant.schema.tasks import OPTIONAL_LABELS, TASKS

if TYPE_CHECKING:
    from titrant.runtime.contract.tasks.cases import CaseAnswers

# task → the module here that reads its answers, and its class
_READERS = {
    "regression": ("regression", "RegressionAnswers"),
    "language_modeling": ("language", "LanguageAnswers"),
    "embedding": ("embedding", "EmbeddingAnswers"),
}


def answered_alike(reading: Reading, rows: Rows, original: Outputs, candidate: Outputs) -> np.ndarray:
    """Say for each case whether both models answer alike, (rows,) bool: token for token, else by `reading.agreement`.

    Raises StepError X420 when the outputs do not fit each other or the rows.
    """
    if TASKS[reading.task].label == "tokens":
        return same_tokens(original, candidate)
    return same_answers(reading, rows, original, candidate)


def case_answers(reading: Reading, rows: Rows, original: Outputs, candidate: Outputs) -> "CaseAnswers | None":
    """Read both models' outputs as the task does; None for a task with classes, and where there are no labels.

    Raises StepError X420 when the outputs do not fit the rows.
    """
    reader = _READERS.get(reading.task)
    if reader is None or (rows.targets is None and TASKS[reading.task].label not in OPTIONAL_LABELS):
        return None
    module, name = reader
    answers: Any = getattr(import_module(f"titrant.runtime.contract.tasks.{module}"), name)
    read: CaseAnswers = answers.read(reading, rows, original, candidate)
    return read

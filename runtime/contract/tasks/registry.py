"""Which class reads the answers of which task."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from titrant.runtime.contract.reading import Reading
from titrant.runtime.values import Outputs, Rows

if TYPE_CHECKING:
    from titrant.runtime.contract.tasks.cases import CaseAnswers

# task → the module here that reads its answers, and its class
_READERS = {"regression": ("regression", "RegressionAnswers")}


def case_answers(reading: Reading, rows: Rows, original: Outputs, candidate: Outputs) -> "CaseAnswers | None":
    """Read both models' outputs as the task does; None for a task with classes, and where there are no labels.

    Raises StepError X420 when the outputs do not fit the rows.
    """
    reader = _READERS.get(reading.task)
    if reader is None or rows.targets is None:
        return None
    module, name = reader
    answers: Any = getattr(import_module(f"titrant.runtime.contract.tasks.{module}"), name)
    read: CaseAnswers = answers.read(reading, rows, original, candidate)
    return read

"""Take the output that a task judges, and refuse one that does not fit the rows."""

import numpy as np

from titrant.runtime.contract.answers import judged_output
from titrant.runtime.contract.reading import Reading
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError


def judged_values(reading: Reading, rows: Rows, outputs: Outputs) -> tuple[str, np.ndarray]:
    """Return the name of the judged output and its numbers, (rows, …) float64; StepError X420 for other rows."""
    name = judged_output(reading, outputs)
    values = outputs.arrays[name].astype(np.float64)
    if len(values) != len(rows):
        raise misfit(f"the output '{name}' has {len(values)} rows, and there are {len(rows)} cases")
    return name, values


def misfit(message: str) -> StepError:
    """Return the error of an output that does not fit."""
    return StepError(
        Diagnostic("X420", message, help="model.output names the output to judge and says what its numbers are")
    )

"""Set the threshold of a binary decision from the original's answers."""

import math
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import class_probabilities
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics import Diagnostic, StepError


def operating_point(params: Any, rows: Rows, outputs: Outputs) -> dict[str, Any]:
    """Return {"kind", "threshold", "source"}; see `validate.operating_point`."""
    asked = params.threshold is not None or params.sensitivity is not None
    if params.task != "binary_classification" or rows.positive is None:
        if asked:
            raise StepError(
                Diagnostic("X410", "an operating point needs a binary task with a positive class",
                           help="name the critical class in data.positive")
            )  # fmt: skip
        return {"kind": "argmax", "threshold": None, "source": "the class with the largest score"}
    if params.sensitivity is None:
        threshold = 0.5 if params.threshold is None else params.threshold
        return {"kind": "threshold", "threshold": threshold, "source": "asked for" if asked else "the default"}
    return _for_sensitivity(params, rows, outputs)


def _for_sensitivity(params: Any, rows: Rows, outputs: Outputs) -> dict[str, Any]:
    assert rows.labels is not None
    positive = class_probabilities(params, rows, outputs)[rows.labels == rows.positive, rows.positive]
    if len(positive) == 0:
        raise StepError(
            Diagnostic("X411", "no tuning row is positive, so no threshold can be set",
                       help="give the tuning role more rows in data.split")
        )  # fmt: skip
    needed = math.ceil(params.sensitivity * len(positive) - 1e-9)
    threshold = float(np.sort(positive)[::-1][needed - 1])
    source = f"the original catches {needed} of {len(positive)} positive tuning rows"
    return {"kind": "threshold", "threshold": threshold, "source": source}

"""Compare what an exported file answers with what its module answers."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from titrant.schema.diagnostics import Diagnostic, StepError


def compare(reference: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the largest absolute difference of any output, and the largest relative to that output's largest answer.

    `answers` may name its outputs otherwise, but has them in the same order.
    """
    absolute = relative = 0.0
    rows = 0
    for (name, expected), (_, given) in zip(reference.items(), answers.items(), strict=True):
        if expected.shape != given.shape:
            raise StepError(
                Diagnostic(
                    "X208",
                    f"output {name} is {given.shape} in the file and {expected.shape} in the model",
                    help="the forward depends on the batch size: write it so that any batch works",
                )
            )
        rows = len(expected)
        wide, other = expected.astype(np.float64), given.astype(np.float64)
        difference = float(np.max(np.abs(wide - other), initial=0.0))
        scale = float(np.max(np.abs(wide), initial=0.0)) or 1.0
        absolute, relative = _worse(absolute, difference), _worse(relative, difference / scale)
    return {"rows": rows, "absolute": absolute, "relative": relative}


def check(parity: Mapping[str, Any], tolerance: float, what: str) -> dict[str, Any]:
    """Add the tolerance; raise StepError X208 when the relative difference is beyond it or not a number."""
    if not parity["relative"] <= tolerance:
        raise StepError(
            Diagnostic(
                "X208",
                f"the {what} file does not answer as the model does: relative difference {parity['relative']:.3g}, "
                f"and {tolerance:.3g} is allowed",
                help="the forward may depend on the batch size or on random numbers; try the file with one row",
            )
        )
    return {**parity, "tolerance": tolerance}


def _worse(first: float, second: float) -> float:
    # max() would drop a NaN that comes second.
    return second if second > first or math.isnan(second) else first

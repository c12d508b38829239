"""Fix how probabilities become decisions, by threshold or largest score, for the original and candidates alike."""

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, operator
from titrant.runtime.contract.reading import Reading
from titrant.runtime.cost.forward import BASE_SECONDS, basis_of
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.values import Outputs, Rows


class OperatingPointParams(Reading):
    """Either a threshold or the sensitivity that the original must reach; with neither, .5 or the largest score."""

    threshold: float | None = Field(None, ge=0, le=1, description="probability from which a case counts as positive")
    sensitivity: float | None = Field(
        None, gt=0, le=1, description="use the largest threshold at which the original reaches this on tuning rows"
    )


def predict(
    params: OperatingPointParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Sort a few thousand numbers."""
    size = work.bytes.get("outputs", 0)
    return Prediction(
        seconds=BASE_SECONDS + size / 50e6, peak_bytes=size + (1 << 16), output_bytes=80, basis=basis_of(hardware)
    )


@operator(
    "validate.operating_point",
    version=2,
    family="validate",
    params=OperatingPointParams,
    inputs={"rows": "rows", "outputs": "outputs"},
    outputs={"point": "value"},
    determinism="exact",
    predict=predict,
    loads=("titrant.runtime.contract.answers",),
    libraries=("numpy",),
)
def validate_operating_point(
    params: OperatingPointParams, context: Context, *, rows: Any, outputs: Any
) -> dict[str, Any]:
    """Choose the threshold from the original's answers on tuning rows; it is never moved afterwards.

    Helps when: a decision must be made the same way by the original and by what replaces it.
    Inputs:     rows - tuning rows with labels (only read when a sensitivity is asked for); outputs - what the
                original answered for them
    Outputs:    point - {"kind": "argmax" or "threshold", "threshold": number or null, "source": a sentence},
                and where the model answers one number a case "scored": the number of the class that it is about
    Fails:      StepError X410 when a threshold or a sensitivity is asked of a task that is not binary, X411 when no
                tuning row is positive
    Cost:       one sort of the positive rows' probabilities
    """
    point = operating_point(params, rows, outputs) | _scored(params, rows, outputs)
    if point["threshold"] is not None:
        context.measure("threshold", point["threshold"])
    return {"point": point}


def _scored(params: Any, rows: "Rows", outputs: "Outputs") -> dict[str, int]:
    """Say which class one number a case is about; nothing where there is a number for each class."""
    from titrant.runtime.contract.answers import judged_output

    answers = outputs.arrays[judged_output(params, outputs)]
    return {"scored": rows.scored} if len(rows.classes) == 2 and answers.size == len(rows) > 0 else {}


def operating_point(params: Any, rows: "Rows", outputs: "Outputs") -> dict[str, Any]:
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


def _for_sensitivity(params: Any, rows: "Rows", outputs: "Outputs") -> dict[str, Any]:
    import numpy as np

    from titrant.runtime.contract.answers import class_probabilities

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

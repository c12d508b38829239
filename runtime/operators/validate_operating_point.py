"""Fix the operating point that turns probabilities into decisions, for the original and every candidate alike."""

from typing import Any

from pydantic import Field

from titrant.runtime.catalog import Context, operator
from titrant.runtime.contract.reading import Reading
from titrant.runtime.data_cost import BASE_SECONDS
from titrant.runtime.forward_cost import basis_of
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.work import NOTHING_KNOWN, Work


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
    version=1,
    family="validate",
    params=OperatingPointParams,
    inputs={"rows": "rows", "outputs": "outputs"},
    outputs={"point": "value"},
    determinism="exact",
    predict=predict,
    loads=("titrant.runtime.contract.operating_point",),
    libraries=("numpy",),
)
def validate_operating_point(
    params: OperatingPointParams, context: Context, *, rows: Any, outputs: Any
) -> dict[str, Any]:
    """Choose the threshold from the original's answers on tuning rows; it is never moved afterwards.

    Helps when: a decision must be made the same way by the original and by what replaces it.
    Inputs:     rows - tuning rows with labels (only read when a sensitivity is asked for); outputs - what the
                original answered for them
    Outputs:    point - {"kind": "argmax" or "threshold", "threshold": number or null, "source": a sentence}
    Fails:      StepError X410 when a threshold or a sensitivity is asked of a task that is not binary, X411 when no
                tuning row is positive
    Cost:       one sort of the positive rows' probabilities
    """
    from titrant.runtime.contract.operating_point import operating_point

    point = operating_point(params, rows, outputs)
    if point["threshold"] is not None:
        context.measure("threshold", point["threshold"])
    return {"point": point}

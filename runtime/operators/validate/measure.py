"""Measure the original and a candidate on the same rows; the figures serve to choose, they prove nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Port, operator
from titrant.runtime.contract.reading import Reading
from titrant.runtime.cost.forward import BASE_SECONDS, basis_of
from titrant.runtime.operators.validate.contract import OwnMetricParams, gather
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.contract.answers import Answers
    from titrant.runtime.values import Outputs, Rows

# Bytes of outputs that are compared in a second.
_READ_BYTES_PER_SECOND = 100e6


class MeasureParams(Reading):
    """How the outputs are read, and what a candidate that was searched for on these rows must keep beyond chance."""

    asked: float | None = Field(
        None,
        gt=0,
        exclude_if=lambda value: value is None,
        description="share of the original's quality of which a lower bound is to be found; none: of none",
    )
    confidence: float = Field(
        0.95, ge=0.5, lt=1, exclude_if=lambda value: value == 0.95, description="of that bound, one-sided"
    )
    own: Mapping[str, OwnMetricParams] = Field(
        default_factory=dict,
        exclude_if=lambda value: not value,
        description="metrics of the user's own that the search is after, and what each declares",
    )


def predict(
    params: MeasureParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Pass over both models' outputs a few times."""
    size = work.bytes.get("original", 0) + work.bytes.get("candidate", 0)
    seconds = BASE_SECONDS + size / _READ_BYTES_PER_SECOND
    return Prediction(seconds=seconds, peak_bytes=2 * size + (1 << 19), output_bytes=600, basis=basis_of(hardware))


@operator(
    "validate.measure",
    version=4,
    family="validate",
    params=MeasureParams,
    inputs={
        "rows": "rows",
        "original": "outputs",
        "candidate": "outputs",
        "point": "value",
        "fine_tuned": Port(("outputs",), optional=True),
    },
    outputs={"quality": "value"},
    determinism="exact",
    predict=predict,
    loads=("titrant.runtime.contract.metrics",),
    libraries=("numpy",),
)
def validate_measure(
    params: MeasureParams,
    context: Context,
    *,
    rows: Any,
    original: Any,
    candidate: Any,
    point: Mapping[str, Any],
    fine_tuned: Any = None,
) -> dict[str, Any]:
    """Compute every metric that the task has, for both models, with their agreement and the retention.

    Helps when: candidates are compared on tuning rows before any is judged; a figure here proves nothing.
    Inputs:     rows - with labels unless the task is unlabeled; original, candidate - both models' outputs for
                exactly these rows; point - the operating point; fine_tuned - outputs of the original after the
                training that the candidate had
    Outputs:    quality - {"rows", "original": {metric: number or null}, "candidate": …, "agreement", "retention",
                "pairs": {"both", "lost", "gained", "neither": how many rows either model has right, or, without labels,
                answers alike, "units": {size: how many units have so many rows}, where any has several}}; null is a
                metric that these rows do not define; "fine_tuned": the retention against that original. Of
                a task without classes "metric" is the main one, and "kept_at_least" bounds the retention in place of
                "pairs". "own", of metrics of the user's own: {"better", "low", "high", "original", "candidate",
                "error": standard error of the difference, or null}
    Fails:      StepError X420 when the two models' outputs do not fit each other or the rows, X605 when a metric of the
                user's own has no number on these rows
    Cost:       a few passes over the outputs
    """
    measured = quality(params, rows, original, candidate, point, confidence=params.confidence)
    if params.asked is not None:
        from titrant.runtime.contract.statistics.tuning_bound import tuning_bound

        bound = tuning_bound(measured, params.asked, params.confidence)
        measured["lower"] = None if bound is None else bound.lower
    if fine_tuned is not None:
        measured["fine_tuned"] = quality(params, rows, fine_tuned, candidate, point)["retention"]
    if params.own:
        from titrant.runtime.contract.measures.objective import own_objective

        evidence = gather(params, rows, original, candidate, point)
        measured["own"] = {name: own_objective(name, own.declared(), evidence) for name, own in params.own.items()}
        for model in ("original", "candidate"):
            named = {name: figures[model] for name, figures in measured["own"].items()}
            measured[model] = {**measured[model], **named}
    context.measure("agreement", measured["agreement"])
    if measured["retention"] is not None:
        context.measure("retention", measured["retention"])
    for name, value in measured["candidate"].items():
        if value is not None:
            context.measure(name, value)
    return {"quality": measured}


def quality(
    reading: Reading,
    rows: "Rows",
    original: "Outputs",
    candidate: "Outputs",
    point: Mapping[str, Any],
    *,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return {"rows", "original", "candidate", "agreement", "retention", "pairs"}; see `validate.measure`."""
    import numpy as np

    from titrant.runtime.contract.case_answers import case_quality
    from titrant.runtime.contract.metrics import calibration_edges
    from titrant.runtime.contract.statistics.tuning_bound import counts_of

    evidence = gather(reading, rows, original, candidate, point)
    agreement = float(evidence.alike.mean()) if len(rows) else 0.0
    if evidence.cases is not None and len(rows):
        return {"rows": len(rows), "agreement": agreement, **case_quality(evidence.cases, confidence)}
    if evidence.original is None or evidence.candidate is None:
        figures = {"original": {}, "candidate": {}, "agreement": agreement, "retention": agreement}
        counts = counts_of(np.ones(len(rows), bool), evidence.alike, rows.units)
        return {"rows": len(rows), **figures, "pairs": counts}
    edges = calibration_edges(evidence.original.probabilities)
    before, after = (_figures(answers, rows, edges) for answers in (evidence.original, evidence.candidate))
    main = before["accuracy"]
    before_right, after_right = (
        answers.decisions == rows.labels for answers in (evidence.original, evidence.candidate)
    )
    return {
        "rows": len(rows),
        "original": before,
        "candidate": after,
        "agreement": agreement,
        "retention": after["accuracy"] / main if main and after["accuracy"] is not None else None,
        "pairs": counts_of(before_right, after_right, rows.units),
    }


def _figures(answers: "Answers", rows: "Rows", edges: "np.ndarray") -> dict[str, float | None]:
    from titrant.runtime.contract.metrics import METRICS, calibration_error

    assert rows.labels is not None
    figures = {name: metric(answers, rows.labels, rows.positive) for name, metric in METRICS.items()}
    return {**figures, "calibration_error": calibration_error(answers.probabilities, rows.labels, edges)}

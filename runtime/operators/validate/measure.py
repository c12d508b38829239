"""Measure the original and a candidate on the same rows; the figures serve to choose, they prove nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Port, operator
from titrant.runtime.contract.reading import Reading
from titrant.runtime.cost.forward import ASSUMED_ROWS, BASE_SECONDS, basis_of
from titrant.runtime.operators.validate.contract import GateParams, OwnMetricParams, gather, judging_seconds
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.gate import SMALLER_IS_BETTER
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.contract.answers import Answers
    from titrant.runtime.contract.evidence import Evidence
    from titrant.runtime.values import Rows

# Bytes of outputs that are compared in a second.
_READ_BYTES_PER_SECOND = 100e6
_BYTES, _GROUP_BYTES = 600, 110
# A gate that allows less than this is taken to allow this much, where what is lost is told as a share of it.
_LEAST_ALLOWED = 1e-9


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
    groups: tuple[GateParams, ...] = Field(
        (), strict=False, exclude_if=lambda value: not value, description="the contract's gates on subgroups"
    )


def predict(
    params: MeasureParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Pass over both models' outputs a few times."""
    size = work.bytes.get("original", 0) + work.bytes.get("candidate", 0)
    seconds = BASE_SECONDS + size / _READ_BYTES_PER_SECOND
    if params.groups:
        seconds += judging_seconds(params.groups, work.rows.get("rows", ASSUMED_ROWS))
    written = _BYTES + _GROUP_BYTES * len(params.groups)
    return Prediction(seconds=seconds, peak_bytes=2 * size + (1 << 19), output_bytes=written, basis=basis_of(hardware))


def loads(params: MeasureParams) -> tuple[str, ...]:
    """Name what judging takes where there are gates on subgroups."""
    return ("titrant.runtime.contract.measures.judging" if params.groups else "titrant.runtime.contract.metrics",)


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
    loads=loads,
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
                "error": standard error of the difference, or null}. "groups", of gates on subgroups: {gate:
                {"estimate", "spent": the share of what it allows that is lost, above 1 where the estimate misses it,
                "verdict": FAIL where its bound does, at `confidence` for all of them together}}, without those that
                have fewer cases here than their `min_cases` or cannot be assessed, and those that the original misses
    Fails:      StepError X420 when the two models' outputs do not fit each other or the rows, X605 when a metric of the
                user's own has no number on these rows
    Cost:       a few passes over the outputs
    """
    evidence = gather(params, rows, original, candidate, point)
    measured = quality(evidence, params.confidence)
    if params.asked is not None:
        from titrant.runtime.contract.statistics.tuning_bound import tuning_bound

        bound = tuning_bound(measured, params.asked, params.confidence)
        measured["lower"] = None if bound is None else bound.lower
    if fine_tuned is not None:
        measured["fine_tuned"] = quality(gather(params, rows, fine_tuned, candidate, point))["retention"]
    if params.own:
        from titrant.runtime.contract.measures.objective import own_objective

        measured["own"] = {name: own_objective(name, own.declared(), evidence) for name, own in params.own.items()}
        for model in ("original", "candidate"):
            named = {name: figures[model] for name, figures in measured["own"].items()}
            measured[model] = {**measured[model], **named}
    if params.groups:
        measured["groups"] = _of_groups(params, evidence)
    context.measure("agreement", measured["agreement"])
    if measured["retention"] is not None:
        context.measure("retention", measured["retention"])
    for name, value in measured["candidate"].items():
        if value is not None:
            context.measure(name, value)
    return {"quality": measured}


def quality(evidence: "Evidence", confidence: float = 0.95) -> dict[str, Any]:
    """Return {"rows", "original", "candidate", "agreement", "retention", "pairs"}; see `validate.measure`."""
    import numpy as np

    from titrant.runtime.contract.case_answers import case_quality
    from titrant.runtime.contract.metrics import calibration_edges
    from titrant.runtime.contract.statistics.tuning_bound import counts_of

    rows = evidence.rows
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


def _of_groups(params: MeasureParams, evidence: "Evidence") -> dict[str, Any]:
    """Judge gates on subgroups by their own tests; their bounds hold all together (Bonferroni)."""
    from titrant.runtime.contract.measures.judging import judge_every
    from titrant.runtime.contract.verdict import meets, original_misses

    evidence = replace(evidence, confidence=1 - (1 - params.confidence) / len(params.groups))
    judged = {}
    for gate in (each.gate() for each in params.groups):
        result = judge_every(gate, evidence)
        cases = result.cases if result.units is None else result.units
        if result.estimate is None or (cases or 0) < gate.min_cases or original_misses(gate, result):
            continue
        less = gate.comparison in SMALLER_IS_BETTER
        lost, allowed = (result.estimate, gate.threshold) if less else (1 - result.estimate, 1 - gate.threshold)
        spent = lost / max(allowed, _LEAST_ALLOWED)
        spent = min(spent, 1.0) if meets(gate, result.estimate) else max(spent, 1 + _LEAST_ALLOWED)
        judged[gate.id] = {"estimate": result.estimate, "spent": spent, "verdict": result.verdict}
    return judged

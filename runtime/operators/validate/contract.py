"""Gather the evidence on one candidate and judge it by every gate of the contract."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from titrant.runtime.catalog import ANY_MODEL, Context, Params, Port, operator
from titrant.runtime.contract.reading import Reading
from titrant.runtime.cost.forward import ASSUMED_ROWS, basis_of
from titrant.schema.contract.earlier import REGRESSION
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.gate import LEVEL_ORIGIN, Comparison, Contract, Gate
from titrant.schema.plan import Prediction
from titrant.schema.recipe.own_metric import OwnMetric
from titrant.schema.recipe.validation import Requirement
from titrant.schema.values.slice import read_slice

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.contract.answers import DecisionCounts
    from titrant.runtime.contract.evidence import Evidence
    from titrant.runtime.contract.statistics.reliability import Reliability
    from titrant.runtime.values import Outputs, Rows

# What judging costs: at all, for each gate, each row, and each row whose samples are drawn again.
_SECONDS, _GATE_SECONDS, _ROW_SECONDS, _DRAW_SECONDS = 0.03, 0.004, 2e-6, 1e-3
_DRAWN = ("bootstrap", "own_set")
_SIZE, _GATE_BYTES = 600, 330


class OwnMetricParams(Params):
    """What a metric of the user's own declares."""

    better: Literal["higher", "lower"]
    low: float
    high: float
    unit: Literal["case", "set"]

    def declared(self) -> OwnMetric:
        """Return the declaration itself."""
        return OwnMetric(**self.model_dump())


class GateParams(Params):
    """One gate: what `titrant.schema.gate.criteria` gives of it, that is, all that judging reads."""

    id: str
    preset: str
    metric: str
    slice: str = "all"
    comparison: Comparison
    threshold: float
    test: str
    unit: str = ""
    min_cases: int = Field(0, ge=0)
    supplied: bool = Field(
        False, description="the level supplied it: let through under require: evidence if its facts are missing"
    )
    assumption: str = Field("", description="of a gate whose test is not_assessable: why it is not")
    own: OwnMetricParams | None = Field(
        None, exclude_if=lambda value: value is None, description="of a metric of the user's own: what it declares"
    )

    @field_validator("slice")
    @classmethod
    def _readable(cls, text: str) -> str:
        read_slice(text)
        return text

    def gate(self) -> Gate:
        """Return the gate itself."""
        own = None if self.own is None else self.own.declared()
        given = self.model_dump(exclude={"supplied", "own"})
        return Gate(**given, origin=LEVEL_ORIGIN if self.supplied else "", own=own)


class ContractParams(Reading):
    """The contract, and which timing belongs to the candidate."""

    candidate: str = Field(description="the candidate's id")
    gates: tuple[GateParams, ...] = Field(strict=False, description="the rows of the contract")
    timing: str = Field("", description="the candidate's name in the timings; empty: its id")
    timing_batch: int = Field(1, ge=1, description="the batch size that latency and throughput gates are about")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of every one-sided bound")
    require: Requirement = Field("evidence", description="what a release needs")
    stratified: bool = Field(
        False, exclude_if=lambda value: not value, description="stratify tests by the subgroup of the strata"
    )
    named_from: int = Field(
        0, ge=0, exclude_if=lambda value: not value, description="units of a stratum that may be named as harmed"
    )
    always_valid: bool = Field(
        False, description="judge by bounds that hold however often rows are added and judged (validation.looks: open)"
    )
    stored_bytes: int | None = Field(
        None, ge=1, exclude_if=lambda value: value is None, description="bytes of the earlier release, as judged then"
    )


def predict(
    params: ContractParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Some milliseconds a gate, more where whole samples are drawn again."""
    rows = work.rows.get("rows", ASSUMED_ROWS)
    seconds = judging_seconds(params.gates, rows)
    size = _SIZE + _GATE_BYTES * len(params.gates)
    peak = 2 * (work.bytes.get("original", 0) + work.bytes.get("candidate", 0)) + (1 << 20)
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=size, basis=basis_of(hardware))


def judging_seconds(gates: tuple[GateParams, ...], rows: int) -> float:
    """Return about how many seconds judging gates on so many rows takes."""
    drawn = sum(gate.test in _DRAWN for gate in gates)
    return _SECONDS + _GATE_SECONDS * len(gates) + rows * (_ROW_SECONDS + drawn * _DRAW_SECONDS)


@operator(
    "validate.contract",
    version=12,
    family="validate",
    params=ContractParams,
    inputs={
        "rows": "rows",
        "original": "outputs",
        "candidate": "outputs",
        "point": "value",
        "timings": Port(("value",), optional=True),
        "invariance": Port(("value",), optional=True),
        "executed": Port(("value",), optional=True),
        "fine_tuned": Port(("outputs",), optional=True),
        "earlier": Port(("outputs",), many=True, optional=True),
        "unlabeled": Port(("rows",), optional=True),
        "unlabeled_original": Port(("outputs",), optional=True),
        "unlabeled_candidate": Port(("outputs",), optional=True),
        "labels": Port(("value",), optional=True),
        "model": ANY_MODEL,
    },
    outputs={"judgement": "value", "answers": "value", "metrics": "value", "reliability": "value"},
    determinism="exact",
    predict=predict,
    loads=("scipy", "titrant.runtime.contract.judge"),
    libraries=("numpy", "scipy"),
)
def validate_contract(
    params: ContractParams,
    context: Context,
    *,
    rows: Any,
    original: Any,
    candidate: Any,
    point: Mapping[str, Any],
    model: Any,
    timings: Mapping[str, Any] | None = None,
    invariance: Mapping[str, Any] | None = None,
    executed: Mapping[str, Any] | None = None,
    fine_tuned: Any = None,
    earlier: Mapping[str, Any] | None = None,
    unlabeled: Any = None,
    unlabeled_original: Any = None,
    unlabeled_candidate: Any = None,
    labels: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Judge every gate on evaluation rows and say whether the candidate may be released.

    Helps when: always; nothing is released without it.
    Inputs:     rows - evaluation rows, never used for choosing; original, candidate - both models' outputs for them;
                point - the operating point; timings - of the candidate beside the original, taken after the choice
                (latency, throughput, peak memory); invariance - what validate.batch_invariance gave for these rows;
                executed - what validate.executed gave of its file; fine_tuned - outputs of the original after the
                training that the candidate had; earlier - outputs of earlier releases, by the preset of their rows;
                unlabeled - further rows without labels; unlabeled_original, unlabeled_candidate - both models'
                outputs for them; labels - those that some of them have got, as data.labels gives them;
                model - the candidate's file, for its size
    Outputs:    judgement - {"candidate", "verdict", "released", "proven", "results": [one a gate]}; answers - counts
                of the decisions of both models by class, or null where there are no classes; metrics - of both
                models on all rows and each subgroup's value, empty without labels; reliability - what was predicted
                and what came, in bins of probability, null without labels
    Fails:      StepError X420 when the two models' outputs do not fit each other or the rows; a gate that cannot be
                computed does not fail here, it answers INCONCLUSIVE and says why
    Cost:       milliseconds a gate; gates that need a bootstrap take up to a second
    """
    from titrant.runtime.contract.earlier.judging import beside_earlier, judge_with_earlier
    from titrant.runtime.contract.judge import judgement
    from titrant.runtime.contract.metrics import slice_metrics
    from titrant.schema.values.canonical import plain

    timings = timings or {}
    contract = Contract(tuple(gate.gate() for gate in params.gates), params.confidence, params.require)
    evidence = replace(
        gather(params, rows, original, candidate, point),
        confidence=params.confidence,
        always_valid=params.always_valid,
        stratified=params.stratified,
        named_from=params.named_from,
        **_measured(params, timings, invariance),
        executed=executed,
        size=file_bytes(model, context.scratch) if any(gate.metric == "size" for gate in contract.gates) else None,
        seed=context.seed,
        permuted_alike=permuted_alike(params, rows, original, context.seed),
    )
    if fine_tuned is not None:
        beside = gather(params, rows, fine_tuned, candidate, point)
        beside = replace(beside, confidence=params.confidence, always_valid=params.always_valid, seed=context.seed)
        beside = replace(beside, stratified=params.stratified, named_from=params.named_from)
        evidence = replace(evidence, fine_tuned=beside)
    stored = {name: gather(params, rows, outputs, candidate, point) for name, outputs in (earlier or {}).items()}
    if REGRESSION in timings or stored or params.stored_bytes is not None:
        alike = {name: permuted_alike(params, rows, outputs, context.seed) for name, outputs in (earlier or {}).items()}
        evidence = beside_earlier(evidence, stored, alike, (timings.get(REGRESSION), params.stored_bytes))
    if unlabeled is not None:
        from titrant.runtime.contract.unlabeled.labeling import gather_unlabeled

        answers = gather_unlabeled(params, unlabeled, (unlabeled_original, unlabeled_candidate), point, labels or {})
        evidence = replace(evidence, unlabeled=answers)
    judged = judgement(contract, params.candidate, evidence, judge_with_earlier)
    return {
        "judgement": plain(judged),
        "answers": plain(changed_decisions(evidence)),
        "metrics": plain(slice_metrics(evidence)),
        "reliability": plain(calibration(evidence)),
    }


def _measured(
    params: ContractParams, timings: Mapping[str, Any], invariance: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the part of the evidence that other steps measured."""
    return {
        "figures": timings.get(params.timing or params.candidate),
        "original_figures": timings.get("original"),
        "timing_batch": params.timing_batch,
        "invariance": invariance,
    }


def gather(
    reading: Reading, rows: "Rows", original: "Outputs", candidate: "Outputs", point: Mapping[str, Any]
) -> "Evidence":
    """Read both models' outputs; StepError X420 when they do not fit each other, the rows or the classes."""
    from titrant.runtime.contract.answers import read_answers
    from titrant.runtime.contract.case_answers import answered_alike, case_answers
    from titrant.runtime.contract.evidence import Evidence

    if rows.labels is None:
        alike = answered_alike(reading, rows, original, candidate)
        return Evidence(rows, None, None, alike, cases=case_answers(reading, rows, original, candidate))
    old, new = (read_answers(reading, rows, outputs, point) for outputs in (original, candidate))
    return Evidence(rows, old, new, old.decisions == new.decisions)


def permuted_alike(reading: Reading, rows: "Rows", original: "Outputs", seed: int) -> "np.ndarray | None":
    """Compare the original's outputs with themselves in another order, where there are no labels; (rows,) bool."""
    import numpy as np

    from titrant.runtime.contract.case_answers import answered_alike
    from titrant.runtime.values import Outputs

    if rows.labels is not None:
        return None
    order = np.random.default_rng(seed).permutation(len(rows))
    others = Outputs(original.role, {name: values[order] for name, values in original.arrays.items()})
    return answered_alike(reading, rows, original, others)


def changed_decisions(evidence: "Evidence") -> "DecisionCounts | None":
    """Count both models' decisions by class; None where there are no classes. No case can be told from it."""
    from titrant.runtime.contract.answers import count_answers

    if evidence.original is None or evidence.candidate is None:
        return None
    rows, before, after = evidence.rows, evidence.original.decisions, evidence.candidate.decisions
    return count_answers(rows.classes, rows.labels, before, after, rows.positive)


def calibration(evidence: "Evidence") -> "Reliability | None":
    """Bin what both models predicted beside what came; None without labels. No case can be told from it."""
    from titrant.runtime.contract.statistics.reliability import reliability

    rows = evidence.rows
    if rows.labels is None or evidence.original is None or evidence.candidate is None:
        return None
    before, after = evidence.original.probabilities, evidence.candidate.probabilities
    return reliability(before, after, rows.labels, rows.classes, rows.positive)


def file_bytes(model: Any, scratch: Path) -> int:
    """Return the bytes that a released model takes on disk: of its file, or of all that it is kept in.

    A live module has no file yet, and is kept to be weighed.
    """
    from titrant.runtime.backends import backend, kinds

    path: Path | None = getattr(model, "path", None)
    if backend.kinds()[model.kind].file and path is not None:
        return path.stat().st_size
    folder = scratch / "size"
    folder.mkdir(parents=True, exist_ok=True)
    kinds.save(model.kind, model, folder)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

"""Judge one candidate by every gate of the contract."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, Port, operator
from titrant.runtime.contract.reading import Reading
from titrant.runtime.forward_cost import basis_of
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.gate import LEVEL_ORIGIN, Gate
from titrant.schema.plan import Prediction
from titrant.schema.work import NOTHING_KNOWN, Work

# Where the data is not known.
_ASSUMED_ROWS = 1000
# What judging costs: at all, for each gate, each row, and each row whose samples are drawn again.
_SECONDS, _GATE_SECONDS, _ROW_SECONDS, _DRAW_SECONDS = 0.03, 0.004, 2e-6, 1e-3
_SIZE, _GATE_BYTES = 600, 330


class GateParams(Params):
    """One gate: what `titrant.schema.gate.criteria` gives of it, that is, all that judging reads."""

    id: str
    preset: str
    metric: str
    slice: str = "all"
    comparison: Literal["at_least", "at_most", "retention", "drop_at_most", "rise_at_most", "ratio_at_least"]
    threshold: float
    test: str
    unit: str = ""
    min_cases: int = Field(0, ge=0)
    supplied: bool = Field(
        False, description="the level supplied it: let through under require: evidence if its facts are missing"
    )
    assumption: str = Field("", description="of a gate whose test is not_assessable: why it is not")

    def gate(self) -> Gate:
        """Return the gate itself."""
        return Gate(**self.model_dump(exclude={"supplied"}), origin=LEVEL_ORIGIN if self.supplied else "")


class ContractParams(Reading):
    """The contract, and which timing belongs to the candidate."""

    candidate: str = Field(description="the candidate's id")
    gates: tuple[GateParams, ...] = Field(strict=False, description="the rows of the contract")
    timing: str = Field("", description="the candidate's name in the timings; empty: its id")
    timing_batch: int = Field(1, ge=1, description="the batch size that latency and throughput gates are about")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of every one-sided bound")
    require: Literal["proof", "evidence"] = Field("evidence", description="what a release needs")


def predict(
    params: ContractParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Some milliseconds a gate, more where whole samples are drawn again."""
    rows = work.rows.get("rows", _ASSUMED_ROWS)
    drawn = sum(gate.test == "bootstrap" for gate in params.gates)
    seconds = _SECONDS + _GATE_SECONDS * len(params.gates) + rows * (_ROW_SECONDS + drawn * _DRAW_SECONDS)
    size = _SIZE + _GATE_BYTES * len(params.gates)
    peak = 2 * (work.bytes.get("original", 0) + work.bytes.get("candidate", 0)) + (1 << 20)
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=size, basis=basis_of(hardware))


@operator(
    "validate.contract",
    version=2,
    family="validate",
    params=ContractParams,
    inputs={
        "rows": "rows",
        "original": "outputs",
        "candidate": "outputs",
        "point": "value",
        "timings": Port(("value",), optional=True),
        "model": ("torch", "onnx", "torchscript"),
    },
    outputs={"judgement": "value", "answers": "value"},
    determinism="exact",
    predict=predict,
    loads=("scipy.stats", "titrant.runtime.contract.judge_candidate"),
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
) -> dict[str, Any]:
    """Judge every gate on evaluation rows and say whether the candidate may be released.

    Helps when: always; nothing is released without it.
    Inputs:     rows - evaluation rows, never used for choosing; original, candidate - both models' outputs for them;
                point - the operating point; timings - of the candidate beside the original, taken after the choice
                (latency, throughput, peak memory); model - the candidate's file, for its size
    Outputs:    judgement - {"candidate", "verdict", "released", "proven", "results": [one a gate]}; answers - counts
                of the decisions of both models by class, or null where there are no classes
    Fails:      StepError X420 when the two models' outputs do not fit each other or the rows; a gate that cannot be
                computed does not fail here, it answers INCONCLUSIVE and says why
    Cost:       milliseconds a gate; gates that need a bootstrap take up to a second
    """
    from titrant.runtime.contract.judge_candidate import changed_decisions, judge_candidate
    from titrant.schema.canonical import plain

    judgement, evidence = judge_candidate(
        params,
        context,
        rows=rows,
        original=original,
        candidate=candidate,
        point=point,
        model=model,
        timings=timings,
    )
    return {"judgement": plain(judgement), "answers": plain(changed_decisions(evidence))}

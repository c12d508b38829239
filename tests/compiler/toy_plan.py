"""A tiny plan over toy operators, for tests of passes, verification and prices; not a test itself."""

from dataclasses import replace

from pydantic import Field

from titrant.runtime.catalog import Declaration, Params, Port, no_requirement, unknown_cost
from titrant.runtime.method import Method
from titrant.schema.facts import Hardware, HardwareIdentity, HardwareVolatile, ModelFacts
from titrant.schema.gate import Contract, Gate
from titrant.schema.plan import Candidate, CandidateSearch, Plan, Prediction, Step

HARDWARE = Hardware(
    HardwareIdentity("linux", "x86_64", "toy", ("avx2",), 2, 8 << 30, (), "3.11", {"torch": "2"}),
    HardwareVolatile(4 << 30, 1 << 30),
)
MODEL = ModelFacts("factory", "m", 10, 10, 40, (), (), ())


class Nothing(Params):
    """No parameters."""


class Bits(Params):
    """A width."""

    bits: int = Field(8, ge=2, le=8)


class Judging(Params):
    """Gates, by id."""

    gates: list[dict[str, str]] = Field(default_factory=list)
    name: str = ""


def toy(
    name, inputs, outputs, params=Nothing, *, consumes=(), requires=no_requirement, predict=unknown_cost, method=None
):
    """Declare an operator without entering it in the catalog."""
    ports = {port: kind if isinstance(kind, Port) else Port(tuple(kind.split())) for port, kind in inputs.items()}
    return Declaration(
        name, 1, "toy", params, ports, outputs, consumes, "exact", requires, predict, (), False, dict, "", method
    )  # fmt: skip


SHRINK = Method("shrink", "onnx", "onnxruntime", "onnx", (4, 8), 1)
FILES = "torch onnx torchscript"
OPERATORS = {
    operator.name: operator
    for operator in (
        toy("rows", {}, {"tuning": "rows", "evaluation": "rows"}),
        toy("model", {}, {"model": "torch"}),
        toy("fit", {"model": "torch", "train": "rows"}, {"model": "torch"}, consumes=("model",)),
        toy("export", {"model": "torch"}, {"model": "onnx"}),
        toy("quantize.shrink", {"model": "onnx"}, {"model": "onnx"}, Bits, method=SHRINK),
        toy("predict", {"model": FILES, "rows": "rows"}, {"outputs": "outputs"}),
        toy("measure", {"original": "outputs", "candidate": "outputs"}, {"quality": "value"}),
        toy("time", {"models": Port(tuple(FILES.split()), many=True)}, {"timings": "value"}),
        toy("judge", {"candidate": "outputs", "model": FILES, "timings": Port(("value",), optional=True)},
            {"judgement": "value"}, Judging),
        toy("report", {"record": "value"}, {"report": "report"}),
    )
}  # fmt: skip


def declare(name):
    """Find a toy operator."""
    return OPERATORS[name]


def step(identifier, operator, inputs=None, stage="make", candidate="", *, params=None, prediction=None):
    """Make a step."""
    return Step(
        identifier, operator, 1, params or {}, inputs or {}, 42, stage, candidate, "", prediction or Prediction()
    )  # fmt: skip


def candidate_steps(name, bits):
    """Make one candidate's chain, as lowering writes it: nothing is shared yet."""
    return (
        step(f"{name}.onnx", "export", {"model": "fit.model"}, candidate=name),
        step(name, "quantize.shrink", {"model": f"{name}.onnx.model"}, candidate=name, params={"bits": bits}),
        step(f"{name}.tuning", "predict", {"model": f"{name}.model", "rows": "rows.tuning"}, candidate=name),
        step(
            f"{name}.quality", "measure",
            {"original": "baseline.outputs", "candidate": f"{name}.tuning.outputs"}, candidate=name,
        ),
    )  # fmt: skip


def judge_steps(name):
    """Make one candidate's judgement."""
    inputs = {"candidate": f"{name}.evaluation.outputs", "model": f"{name}.model", "timings": f"{name}.latency.timings"}
    models = {"original": "fit.model", name: f"{name}.model"}
    gates = {"gates": [{"id": "g1"}, {"id": "g2"}], "name": name}
    return (
        step(
            f"{name}.evaluation", "predict", {"model": f"{name}.model", "rows": "rows.evaluation"}, "judge", name,
        ),
        step(f"{name}.latency", "time", {"models": models}, "judge", name),
        step(f"{name}.contract", "judge", inputs, "judge", name, params=gates),
    )  # fmt: skip


def toy_plan():
    """Make a sound plan of two candidates that begin alike."""
    names = {"small": 8, "tiny": 4}
    models = {"original": "fit.model", **{name: f"{name}.model" for name in names}}
    gate = Gate("g1", "retention", "accuracy", "all", "retention", 0.95, "score_ratio", "level balanced")
    speed = replace(gate, id="g2", preset="target", metric="latency_p95", comparison="at_most", unit="s")
    return Plan(
        name="toy",
        recipe_digest="r",
        language=1,
        task="unlabeled",
        hardware=HARDWARE.identity,
        model_digest="m",
        data_digest="d",
        threads=1,
        timing_threads=1,
        deterministic=True,
        original="fit.model",
        original_engine="torch",
        decisions=(),
        steps=(
            step("rows", "rows", stage="prepare"),
            step("model", "model", stage="prepare"),
            step("fit", "fit", {"model": "model.model", "train": "rows.tuning"}, "prepare"),
            step("baseline", "predict", {"model": "fit.model", "rows": "rows.tuning"}, "prepare"),
            *(made for name, bits in names.items() for made in candidate_steps(name, bits)),
            step("latency", "time", {"models": models}, "measure"),
            *(made for name in names for made in judge_steps(name)),
            step("report", "report", {"record": "run.record"}, "report"),
        ),
        candidates=tuple(
            Candidate(
                name, "shrink", "onnxruntime", "onnx", rank, f"{name}.model", f"{name}.tuning.outputs",
                f"{name}.quality.quality", f"{name}.contract.judgement",
            )
            for rank, name in enumerate(names)
        ),
        searches=(CandidateSearch("auto", "model", tuple(names), ("latency",), 4, "latency.timings"),),
        contract=Contract((gate, speed), 0.95, "evidence"),
        shipped={},
    )  # fmt: skip


def changed(plan, identifier, **fields):
    """Replace fields of one step."""
    assert any(one.id == identifier for one in plan.steps)
    return replace(plan, steps=tuple(replace(one, **fields) if one.id == identifier else one for one in plan.steps))

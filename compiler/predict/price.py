"""Predict what every step of a plan costs, by its formula and by what steps cost here before; add it all up."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from functools import cached_property
from typing import Any

from titrant.compiler.bind.layers import without
from titrant.compiler.lower.plan_graph import Declare, is_model
from titrant.compiler.predict.learned import NO_HISTORY, History, learn
from titrant.runtime import catalog
from titrant.runtime.backends.backend import all_backends
from titrant.runtime.catalog import Declaration, full_params
from titrant.runtime.method import Method
from titrant.schema.cost import FP32, Arithmetic, ModelUse, Work, smallest_batch
from titrant.schema.facts import Bench, DataFacts, Hardware, ModelFacts, rows_bytes
from titrant.schema.plan import Candidate, ModelCost, Plan, Prediction, Step, without_paths
from titrant.schema.values.canonical import plain, sha256
from titrant.schema.values.frozen import dataclass, replace

# Measured with torch 2.13, scikit-learn 1.9 and pandas 3, each after what is loaded before it in a
# run; starting a worker with torch took 2.9 s there. What an engine loads stands with the engine; what is nowhere is
# small.
_SHARES = {
    "sklearn.datasets": 0.57,
    "pandas": 0.15,
    "pyarrow.parquet": 0.1,
    "scipy.optimize": 0.2,
    "titrant.runtime.report.page": 0.06,
}
_SMALL = 0.01
# Stands beside the libraries that a step needs: starting the process itself.
WORKER = "worker"
# Where nothing was measured.
_WORKER_SECONDS = 3.0
# The module that the bench loads when it times how long a worker takes to start.
_WORKER_LOADS = "torch"

NO_OTHERS: Mapping[str, ModelFacts] = {}


def price(
    plan: Plan,
    hardware: Hardware,
    model: ModelFacts,
    data: DataFacts,
    *,
    history: History = NO_HISTORY,
    declare: Declare = catalog.get,
    others: Mapping[str, ModelFacts] = NO_OTHERS,
    shapes: bool = True,
) -> Plan:
    """Return the plan with a prediction for every step and a size for every candidate; nothing else changes.

    `others` are the facts of models that steps of these names, within a candidate, load beside the original. Without
    `shapes` a prediction cannot be learned from, and takes two thirds of the time.
    """
    workload = Workload(plan, data, declare, model, others)
    mending = {candidate.id: candidate for candidate in plan.candidates if candidate.mends}
    shares = _shares()
    steps = []
    for step in plan.steps:
        declaration = declare(step.operator)
        work = workload.of(step)
        seen = work.models.get("model", ModelUse()).facts or others.get(_local(step)) or model
        formula = _formula(declaration, step, hardware, seen, work, shares=shares)
        shape = _shape(declaration, step, model, work, plan) if shapes else ""
        device = str(step.params.get("device", "cpu")).partition(":")[0]
        prediction = learn(step.operator, replace(formula, shape=shape, device=device), history)
        reads_model = not {"model", "models"}.isdisjoint(step.inputs)
        if reads_model and (model.flops is None or any(use.arithmetic is None for use in work.models.values())):
            prediction = _as_guess(prediction)
        prediction = replace(prediction, models=_with_repaired(prediction.models, mending))
        # What follows is priced by what the formula says: a shape must not change with what is learned.
        workload.note(step, formula)
        steps.append(replace(step, prediction=prediction))
    sizes = {step.id: step.prediction.output_bytes for step in steps}
    candidates = tuple(_sized(candidate, sizes, model) for candidate in plan.candidates)
    return replace(plan, steps=tuple(steps), candidates=candidates)


def _formula(
    declaration: Declaration,
    step: Step,
    hardware: Hardware,
    model: ModelFacts,
    work: Work,
    *,
    shares: Mapping[str, float],
) -> Prediction:
    params = full_params(declaration.params, step.params)
    made = declaration.predict(params, hardware, without(model, params), work)
    started = _started(hardware.bench)
    loads = {module: started * shares.get(module, _SMALL) for module in declaration.loads(params)}
    loads[WORKER] = started * (1 - shares[_WORKER_LOADS])
    return replace(
        made,
        loads=loads,
        formula_seconds=made.seconds,
        formula_peak_bytes=made.peak_bytes,
        formula_models={name: smallest_batch(cost) for name, cost in made.models.items()},
    )


def _with_repaired(models: Mapping[str, ModelCost], mending: Mapping[str, Candidate]) -> dict[str, ModelCost]:
    """Expect of a repaired candidate what is expected of the one that it mends; of a mixture nothing is known."""
    repaired = {
        name: models[candidate.mends]
        for name, candidate in mending.items()
        if candidate.mends in models and not candidate.allocation
    }
    return {**models, **repaired}


def _as_guess(prediction: Prediction) -> Prediction:
    """Call it a guess, unless it was measured, where a model's FLOPs or its method's arithmetic are unknown."""
    bases = {figure: "guess" for figure in ("seconds", "peak_bytes") if prediction.basis_of(figure) != "measured"}
    models = {
        name: cost if cost.basis == "measured" else replace(cost, basis="guess")
        for name, cost in prediction.models.items()
    }
    return replace(prediction, bases={**prediction.bases, **bases}, models=models)


def _shape(declaration: Declaration, step: Step, model: ModelFacts, work: Work, plan: Plan) -> str:
    """Digest what a step's cost depends on: what it does, to how much, with how many threads.

    Contents do not count, and neither do parameters that the operator says cost nothing. Sizes that are predicted
    count by their order of magnitude.
    """
    params = {name: value for name, value in step.params.items() if name not in declaration.costless}
    parts = {
        "operator": [step.operator, step.version],
        "params": _without_files(without_paths(params)),
        "model": [model.parameters, model.flops, model.activation_bytes, len(model.layers)],
        "rows": work.rows,
        "models": {
            port: [use.method, use.kind, *([use.made_by] if use.made_by else [])] for port, use in work.models.items()
        },
        "bytes": {port: _magnitude(size) for port, size in work.bytes.items() if port in {*work.models, *work.rows}},
        "threads": plan.threads,
    }
    if any(source == candidate.allocation for candidate in plan.candidates for source in step.inputs.values()):
        parts["allocated"] = True  # layers that stay in float make it another file than the uniform one
    return sha256(plain(parts))[:16]


def _without_files(value: object) -> object:
    """Leave out the digests of files: what they hold is counted elsewhere."""
    if isinstance(value, dict):
        return {key: _without_files(item) for key, item in value.items() if key != "digest"}
    return [_without_files(item) for item in value] if isinstance(value, list) else value


def _magnitude(size: int) -> int:
    return round(math.log2(size + 1))


def _sized(candidate: Candidate, sizes: dict[str, int | None], model: ModelFacts) -> Candidate:
    producer = candidate.model.rpartition(".")[0]
    return replace(candidate, predicted_bytes=sizes.get(producer, model.weight_bytes))


@dataclass
class Workload:
    """What each step of a plan works on; call `of` for a step, then `note` with its prediction, in plan order."""

    plan: Plan
    data: DataFacts
    declare: Declare
    model: ModelFacts
    others: Mapping[str, ModelFacts] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)
    _bytes: dict[str, int] = field(default_factory=dict)
    _models: dict[str, ModelUse] = field(default_factory=dict)
    _values_bytes: int = 0

    @cached_property
    def _waiting(self) -> frozenset[str]:
        """Name the candidates that wait for others: many are never made, so that no timing is expected of them."""
        return frozenset(candidate.id for candidate in self.plan.candidates if candidate.waits_for)

    def of(self, step: Step) -> Work:
        """Return what a step reads, as far as it is known."""
        ports = dict(_references(step))
        return Work(
            rows={port: self._rows[source] for port, source in ports.items() if source in self._rows},
            bytes={port: self._bytes[source] for port, source in ports.items() if source in self._bytes},
            models={
                port: self._models[source]
                for port, source in ports.items()
                if source in self._models and (port not in self._waiting or step.stage != "measure")
            },
            data=self.data,
            threads=self.plan.threads,
            steps=len(self.plan.steps),
            candidates=len(self.plan.candidates),
            values_bytes=self._values_bytes,
        )

    def note(self, step: Step, prediction: Prediction) -> None:
        """Remember what a step is expected to give."""
        declaration = self.declare(step.operator)
        if set(declaration.outputs.values()) == {"value"}:
            self._values_bytes += prediction.output_bytes or 0
        for port, kind in declaration.outputs.items():
            name = f"{step.id}.{port}"
            if kind == "rows":
                self._note_rows(name, port)
            elif is_model(kind):
                self._models[name] = self._model(step, declaration, kind, prediction)
            elif kind == "outputs":
                self._rows[name] = sum(
                    self._rows.get(source, 0) for source in step.inputs.values() if isinstance(source, str)
                )
            if kind != "rows" and prediction.output_bytes is not None:
                self._bytes[name] = prediction.output_bytes

    def _note_rows(self, name: str, role: str) -> None:
        facts = self.data.roles.get(role)
        self._rows[name] = facts.rows if facts is not None else 0
        self._bytes[name] = rows_bytes(self.data, role)

    def _model(self, step: Step, declaration: Declaration, kind: str, prediction: Prediction) -> ModelUse:
        before = next((self._models[source] for _, source in _references(step) if source in self._models), ModelUse())
        made = replace(before, kind=kind, bytes=prediction.output_bytes)
        method = declaration.method
        if method is None:
            return replace(made, facts=self.others.get(_local(step), made.facts))
        named = method.name if before.method == ModelUse().method else f"{before.method}+{method.name}"
        own = arithmetic_with(method, step.params)
        priced = before.arithmetic is not None and own is not None
        facts = before.facts or self.model
        after = declaration.model_after(full_params(declaration.params, step.params), facts)
        return replace(
            made,
            method=named,
            arithmetic=(before.arithmetic or FP32).then(own or FP32) if priced else None,
            facts=before.facts if after is facts else after,
            # What makes a network smaller does so by its parameters: all behind it costs otherwise with others.
            made_by=before.made_by if method.bits else sha256([before.made_by, step.operator, plain(step.params)])[:16],
        )


def _local(step: Step) -> str:
    """Return what a step is called within its candidate."""
    return step.id.rpartition(".")[2]


def _references(step: Step) -> Iterator[tuple[str, str]]:
    """List the ports of a step with what they read; of a port that takes many, every name there."""
    for port, source in step.inputs.items():
        if isinstance(source, Mapping):
            yield from source.items()
        else:
            yield port, source


@dataclass(frozen=True)
class Totals:
    """The predictions of many steps together; None where nothing is known of any of them.

    `seconds` adds up, with the `loading_seconds` that starting a worker and loading libraries takes, each once;
    `unknown` counts the steps of which seconds are not known. `peak_bytes` is the largest of any step, beside what the
    libraries take; `output_bytes` what the store grows by.
    """

    steps: int
    seconds: float | None
    peak_bytes: int | None
    output_bytes: int | None
    unknown: int
    loading_seconds: float = 0.0


def totals(steps: Iterable[Step]) -> Totals:
    """Add up predictions."""
    predictions = [step.prediction for step in steps]
    seconds = [made.seconds for made in predictions if made.seconds is not None]
    outputs = [made.output_bytes for made in predictions if made.output_bytes is not None]
    loading = _loading_seconds(predictions)
    return Totals(
        steps=len(predictions),
        seconds=sum(seconds) + loading if seconds else None,
        peak_bytes=max((made.peak_bytes for made in predictions if made.peak_bytes is not None), default=None),
        output_bytes=sum(outputs) if outputs else None,
        unknown=len(predictions) - len(seconds),
        loading_seconds=loading,
    )


def _loading_seconds(predictions: Iterable[Prediction]) -> float:
    """Add up what loading libraries costs: each once, whoever needs it first."""
    loads: dict[str, float] = {}
    for made in predictions:
        for module, seconds in made.loads.items():
            loads[module] = max(seconds, loads.get(module, 0.0))
    return sum(loads.values())


def _shares() -> dict[str, float]:
    return {**_SHARES, **{module: share for engine in all_backends() for module, share in engine.loads.items()}}


def _started(bench: Bench | None) -> float:
    return (bench.import_seconds if bench is not None else None) or _WORKER_SECONDS


def arithmetic_with(method: Method, options: Mapping[str, Any]) -> Arithmetic | None:
    """Return what a method does to the cost of a forward pass with some options: a variant's arithmetic, or its own."""
    for variant in method.variants:
        if variant.arithmetic is not None and variant.options.items() <= options.items():
            return variant.arithmetic
    return method.arithmetic

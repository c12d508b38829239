"""Predict what every step of a plan costs: by its operator's formula, and by what steps cost here before."""

import math
from dataclasses import replace

from titrant.compiler.learned import NO_HISTORY, History, learn
from titrant.compiler.lowering.steps import full_params
from titrant.compiler.ports import Declare
from titrant.compiler.workload import Workload
from titrant.runtime import catalog
from titrant.runtime.catalog import Declaration
from titrant.schema.canonical import plain, sha256
from titrant.schema.facts import DataFacts, Hardware, ModelFacts
from titrant.schema.history import smallest_batch
from titrant.schema.loading import WORKER, loading_seconds, worker_seconds
from titrant.schema.plan import Candidate, Plan, Prediction, Step, without_paths
from titrant.schema.work import Work


def price(
    plan: Plan,
    hardware: Hardware,
    model: ModelFacts,
    data: DataFacts,
    *,
    history: History = NO_HISTORY,
    declare: Declare = catalog.get,
) -> Plan:
    """Return the plan with a prediction for every step and a size for every candidate; nothing else changes."""
    workload = Workload(plan, data, declare)
    steps = []
    for step in plan.steps:
        declaration = declare(step.operator)
        work = workload.of(step)
        formula = _formula(declaration, step, hardware, model, work)
        shape = _shape(declaration, step, model, work, plan)
        device = str(step.params.get("device", "cpu")).partition(":")[0]
        prediction = learn(step.operator, replace(formula, shape=shape, device=device), history)
        if model.flops is None and not {"model", "models"}.isdisjoint(step.inputs):
            prediction = _least(prediction)
        # What follows is priced by what the formula says: a shape must not change with what is learned.
        workload.note(step, formula)
        steps.append(replace(step, prediction=prediction))
    sizes = {step.id: step.prediction.output_bytes for step in steps}
    candidates = tuple(_sized(candidate, sizes, model) for candidate in plan.candidates)
    return replace(plan, steps=tuple(steps), candidates=candidates)


def _formula(declaration: Declaration, step: Step, hardware: Hardware, model: ModelFacts, work: Work) -> Prediction:
    params = full_params(declaration.params, step.params)
    made = declaration.predict(params, hardware, model, work)
    loads = {module: loading_seconds(module, hardware.bench) for module in declaration.loads(params)}
    loads[WORKER] = worker_seconds(hardware.bench)
    return replace(
        made,
        loads=loads,
        formula_seconds=made.seconds,
        formula_peak_bytes=made.peak_bytes,
        formula_models={name: smallest_batch(cost) for name, cost in made.models.items()},
    )


def _least(found: Prediction) -> Prediction:
    """Call a guess, unless it was measured, what a model takes of which something multiplies nobody knows how often."""
    bases = {figure: "guess" for figure in ("seconds", "peak_bytes") if found.basis_of(figure) != "measured"}
    models = {
        name: cost if cost.basis == "measured" else replace(cost, basis="guess") for name, cost in found.models.items()
    }
    return replace(found, bases={**found.bases, **bases}, models=models)


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
        "models": {port: [use.method, use.kind] for port, use in work.models.items()},
        "bytes": {port: _magnitude(size) for port, size in work.bytes.items() if port in {*work.models, *work.rows}},
        "threads": plan.threads,
    }
    return sha256(plain(parts))[:16]


def _without_files(value: object) -> object:
    """Leave out the digests of files: what they hold is counted elsewhere."""
    if isinstance(value, dict):
        return {key: _without_files(item) for key, item in value.items() if key != "digest"}
    return [_without_files(item) for item in value] if isinstance(value, list) else value


def _magnitude(size: int) -> int:
    return round(math.log2(size + 1))


def _sized(candidate: Candidate, sizes: dict[str, int | None], model: ModelFacts) -> Candidate:
    size = sizes.get(candidate.model.rpartition(".")[0])
    return replace(candidate, predicted_bytes=model.weight_bytes if size is None else size)

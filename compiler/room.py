"""Whether memory and disk suffice: what the steps of a plan are certain to need, counted from the facts."""

import math
from collections.abc import Iterator

from titrant.compiler.feasible import least_bytes
from titrant.compiler.ports import Declare, given_kinds, references, split_reference
from titrant.runtime import catalog
from titrant.schema.diagnostics import Diagnostic
from titrant.schema.facts import DataFacts, Hardware, ModelFacts
from titrant.schema.frozen import dataclass
from titrant.schema.plan import Plan, Step
from titrant.schema.units import format_size

# What a worker holds that is its own before its first step: 147 MiB with torch 2.13 for the CPU, onnxruntime not yet
# loaded; other builds of torch take more. Counted low, so that it refuses nothing that could run.
WORKER_BYTES = 128 << 20
ITEM_BYTES = {"float64": 8, "int64": 8, "uint64": 8, "float32": 4, "int32": 4, "float16": 2, "int16": 2}
MODELS = ("torch", "onnx", "torchscript")


@dataclass(frozen=True)
class Case:
    """A plan with the facts that it was made from."""

    plan: Plan
    hardware: Hardware
    model: ModelFacts
    data: DataFacts
    declare: Declare = catalog.get


def short_of(case: Case, running: frozenset[str] | None = None) -> tuple[Diagnostic, ...]:
    """Say which memory or disk is certain not to suffice; empty where it may.

    Both demands are counted from below: each array once, as it is read or stored, and the weights in the fewest bits.
    `running` are the steps that will really run; without it all count but those that only the search asks for.
    """
    steps = case.plan.steps
    certain = [step for step in steps if (step.stage != "judge" if running is None else step.id in running)]
    return (*_memory(case, certain), *_disk(case, certain)) if certain else ()


def _memory(case: Case, steps: list[Step]) -> Iterator[Diagnostic]:
    supply = case.hardware.identity.memory_bytes
    demands = {step.id: least_memory(case, step) for step in steps}
    worst = max(demands, key=lambda name: demands[name])
    if supply is not None and demands[worst] > supply:
        demand = format_size(demands[worst])
        yield Diagnostic(
            "P025",
            f"step {worst} needs {demand} of memory or more, and this machine has {format_size(supply)}",
            help=f"run it where there is more than {demand}, {_relief(demands[worst])}",
        )


def _relief(demand: int) -> str:
    if demand < 2 * WORKER_BYTES:
        return f"most of which torch itself takes ({format_size(WORKER_BYTES)})"
    return "or hand over a smaller model or fewer rows"


def _disk(case: Case, steps: list[Step]) -> Iterator[Diagnostic]:
    supply = case.hardware.volatile.disk_free_bytes
    demand = sum(least_output(case, step) for step in steps)
    if supply is not None and demand > supply:
        yield Diagnostic(
            "P024",
            f"the steps to run write {format_size(demand)} or more, and {format_size(supply)} are free on the disk",
            help=f"free at least {format_size(demand - supply)}, or set TITRANT_HOME to a folder on another disk",
        )


def least_memory(case: Case, step: Step) -> int:
    """Count the bytes that a step cannot do without: the worker, the rows that it reads, the weights, gradients."""
    read = {reference: _kind(case, reference) for _, reference in references(step)}
    rows = sum(_rows_bytes(case, split_reference(one)[1]) for one, kind in read.items() if kind == "rows")
    models = [_model_bytes(case, one) for one, kind in read.items() if kind in MODELS]
    # Of many models one is held at a time; on another device the weights need not stay here.
    weights = max(models, default=0) if step.params.get("device", "cpu") == "cpu" else 0
    facts = case.model
    gradients = facts.weight_bytes * facts.trainable // max(1, facts.parameters) if step.operator == "train.fit" else 0
    return WORKER_BYTES + rows + weights + gradients


def least_output(case: Case, step: Step) -> int:
    """Count the bytes below which what a step stores cannot be: rows uncompressed, weights in the fewest bits."""
    found = 0
    for port, kind in given_kinds(step, case.declare).items():
        if kind == "rows":
            found += _rows_bytes(case, port)
        elif kind in MODELS:
            found += _model_bytes(case, f"{step.id}.{port}")
    return found


def _kind(case: Case, reference: str) -> str:
    producer, port = split_reference(reference)
    found = next((step for step in case.plan.steps if step.id == producer), None)
    return given_kinds(found, case.declare).get(port, "") if found is not None else ""


def _rows_bytes(case: Case, role: str) -> int:
    """Count the inputs of one role's rows; a dtype that is not known counts nothing."""
    if role not in case.data.roles:
        return 0
    row = sum(
        math.prod(size for size in spec.shape if isinstance(size, int)) * ITEM_BYTES.get(spec.dtype, 0)
        for spec in case.data.inputs
    )
    return case.data.roles[role].rows * row


def _model_bytes(case: Case, reference: str) -> int:
    """Count a model's weights: whole for the original, in the fewest bits for a file that is made from it."""
    plan = case.plan
    if reference == plan.original:
        return case.model.weight_bytes
    made = [least_bytes(one, plan, case.model, case.declare) for one in plan.candidates if one.model == reference]
    return min(made, default=0)

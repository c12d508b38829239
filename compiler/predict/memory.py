"""Count the memory and disk that a plan is certain to need, and refuse one that a machine cannot carry out."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, replace

from titrant.compiler.decide.target import at_device
from titrant.compiler.lower.plan_graph import (
    Declare,
    given_kinds,
    is_model,
    references,
    split_reference,
)
from titrant.runtime import catalog
from titrant.runtime.catalog import full_params, method_operator, same_model
from titrant.schema.cost import WORKER_BYTES, Capacity, Need, Unmet
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError, Place
from titrant.schema.facts import DataFacts, Hardware, HardwareVolatile, ModelFacts, TensorSpec, spec_bytes
from titrant.schema.gate import Gate
from titrant.schema.plan import GIVEN, Candidate, Plan, Step, by_reason
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import format_size, write_size


@dataclass(frozen=True)
class Case:
    """A plan with the facts that it was made from."""

    plan: Plan
    model: ModelFacts
    data: DataFacts
    declare: Declare = catalog.get
    facts: Mapping[str, ModelFacts] = field(default_factory=dict)  # of every model in the plan: see `model_facts`


def needs(case: Case) -> dict[str, Need]:
    """Say of every step what it cannot do without: each array once, as it is read or stored, and the weights."""
    case = replace(case, facts=model_facts(case.plan, case.model, case.declare))
    return {step.id: _need(case, step) for step in case.plan.steps}


def capacity_of(hardware: Hardware) -> Capacity:
    """Return what a machine has, whoever uses it at the moment; of the disk only what is free can be had."""
    gpus = hardware.identity.gpus
    devices = {f"{gpu.kind}:{gpu.index}": gpu.memory_bytes for gpu in gpus if gpu.memory_bytes is not None}
    return Capacity(hardware.identity.memory_bytes, hardware.volatile.disk_free_bytes, devices)


def capacity_now(hardware: Hardware, worker: bool = False) -> Capacity:
    """Return what is free on a machine at this moment; `worker` says that one is running, whose memory is taken."""
    now = hardware.volatile
    memory = now.memory_available_bytes
    if memory is not None and worker:
        memory += WORKER_BYTES
    return Capacity(memory, now.disk_free_bytes, _free_devices(hardware, now), free=True)


def _free_devices(hardware: Hardware, now: HardwareVolatile) -> dict[str, int]:
    kinds = {gpu.index: gpu.kind for gpu in hardware.identity.gpus}
    return {
        f"{kinds[state.index]}:{state.index}": state.memory_free_bytes
        for state in now.gpus
        if state.memory_free_bytes is not None and state.index in kinds
    }


def _need(case: Case, step: Step) -> Need:
    """Count the worker, the rows that a step reads, one model's weights, gradients, the largest batch, and outputs."""
    read = {reference: _kind(case, reference) for _, reference in references(step)}
    rows = sum(_rows_bytes(case, split_reference(reference)[1]) for reference, kind in read.items() if kind == "rows")
    models = {reference: _model_bytes(case, reference) for reference, kind in read.items() if is_model(kind)}
    facts = case.model
    if facts.apart_bytes and case.plan.original in models:
        # Who runs the file maps weights beside it; who makes another of it says how many it reads at once.
        makes = any(is_model(kind) for kind in given_kinds(step, case.declare).values())
        least = step.prediction.peak_bytes if makes else facts.weight_bytes - facts.apart_bytes
        models[case.plan.original] = facts.weight_bytes if least is None else min(facts.weight_bytes, least)
    weights = max(models.values(), default=0)
    gradients = facts.weight_bytes * facts.trainable // max(1, facts.parameters) if step.operator == "train.fit" else 0
    device = _device(step)
    batch = max(step.params["batches"]) if step.operator == "profile.latency" else 0
    cases = batch * _case_bytes(case)
    # On a device with memory of its own the weights need not stay here; the batch is put together here and copied.
    here, there = (weights, 0) if device == "cpu" else (0, weights + cases)
    return Need(
        memory_bytes=WORKER_BYTES + rows + cases + here + gradients,
        output_bytes=_output(case, step),
        device=device,
        device_bytes=there,
        batch=batch,
        case_bytes=_case_bytes(case),
    )


def _case_bytes(case: Case) -> int:
    """Count what the model takes and gives for one case; both are there at once when it has answered."""
    named = {spec.name for spec in case.model.inputs}
    arrays = (*(spec for spec in case.data.inputs if spec.name in named), *case.model.outputs)
    return sum(_spec_bytes(spec) for spec in arrays if spec.shape)


def _device(step: Step) -> str:
    """Return "cpu", or the accelerator with memory of its own that a step runs on, with its number."""
    device = str(step.params.get("device", "cpu"))
    if not device.startswith("cuda"):
        return "cpu"  # what Metal computes on is the machine's own memory
    return device if ":" in device else f"{device}:0"


def _output(case: Case, step: Step) -> int:
    """Count the bytes below which what a step stores cannot be: rows uncompressed, weights in the fewest bits."""
    size = 0
    for port, kind in given_kinds(step, case.declare).items():
        if kind == "rows":
            size += _rows_bytes(case, port)
        elif is_model(kind):
            size += _model_bytes(case, f"{step.id}.{port}")
    return size


def _kind(case: Case, reference: str) -> str:
    producer, port = split_reference(reference)
    step = next((step for step in case.plan.steps if step.id == producer), None)
    return given_kinds(step, case.declare).get(port, "") if step is not None else ""


def _rows_bytes(case: Case, role: str) -> int:
    """Count the inputs of one role's rows."""
    if role not in case.data.roles:
        return 0
    return case.data.roles[role].rows * sum(map(_spec_bytes, case.data.inputs))


def _spec_bytes(spec: TensorSpec) -> int:
    """Count one case of an array; a dtype that is not known counts nothing."""
    return spec_bytes(spec, unknown=0)


def _model_bytes(case: Case, reference: str) -> int:
    """Count a model's weights: whole for the original, in the fewest bits for a file that is made from it."""
    plan = case.plan
    if reference == plan.original:
        return case.model.weight_bytes
    model = case.facts.get(reference, case.model)
    made = [
        least_bytes(candidate, plan, model, case.declare)
        for candidate in plan.candidates
        if candidate.model == reference
    ]
    return min(made, default=0)


def check_feasible(
    plan: Plan,
    hardware: Hardware,
    model: ModelFacts,
    *,
    declare: Declare = catalog.get,
    limit: Place | None = None,
) -> None:
    """Raise InfeasibleError when the plan provably cannot be carried out on this machine.

    Each diagnostic says what is demanded, what there is, and the smallest change that fits. Sizes count only where
    they are counted: a guess never refuses work. `limit` is where the recipe limits the size. Memory and disk are
    left out, since they depend on what is stored already: see `needs`.
    """
    diagnostics = (
        *_unmet(plan, hardware, model, declare),
        *_no_candidate(plan),
        *_too_large(plan, model, declare, limit),
    )
    if diagnostics:
        raise InfeasibleError(*diagnostics)


def _unmet(plan: Plan, hardware: Hardware, model: ModelFacts, declare: Declare) -> Iterator[Diagnostic]:
    """Yield what operators need and this machine lacks, each once.

    What reduces a model is asked about the device that the model will run on.
    """
    reported: set[Unmet] = set()
    facts = model_facts(plan, model, declare)
    device = next((decision.chosen for decision in plan.decisions if decision.subject == "target.device"), "cpu")
    there = at_device(hardware, device)
    for step in plan.steps:
        declaration = declare(step.operator)
        machine = hardware if declaration.method is None else there
        source = step.inputs.get("model")
        given = facts.get(source, model) if isinstance(source, str) else model
        for lack in declaration.requires(full_params(declaration.params, step.params), machine, given):
            if lack not in reported:
                reported.add(lack)
                yield Diagnostic("P021", f"step {step.id} cannot run here: {lack.cause}", help=lack.remedy)


def _no_candidate(plan: Plan) -> Iterator[Diagnostic]:
    for search in plan.searches:
        if not search.candidates:
            formats = "any format" if search.format == "auto" else f"format {search.format}"
            reasons = [
                f"{rejected.value}: {rejected.reason}" for decision in plan.decisions for rejected in decision.rejected
            ]
            yield Diagnostic(
                "P022",
                f"no candidate for {formats} can be made here",
                help="; ".join(reasons) or "ask for another format or method",
            )


def _too_large(plan: Plan, model: ModelFacts, declare: Declare, where: Place | None) -> Iterator[Diagnostic]:
    """Yield the size limits that the weights alone exceed, in the fewest bits that any candidate could hold them in."""
    limits = [gate for gate in plan.contract.gates if gate.metric == "size" and gate.comparison == "at_most"]
    candidates = {candidate.id: candidate for candidate in plan.candidates}
    facts = model_facts(plan, model, declare)
    for search in plan.searches:
        floors = {
            name: least_bytes(candidates[name], plan, facts.get(candidates[name].model, model), declare)
            for name in search.candidates
        }
        for gate in limits:
            if floors and min(floors.values()) > gate.threshold:
                yield _size_diagnostic(plan, gate, floors, where)


def least_bytes(candidate: Candidate, plan: Plan, model: ModelFacts, declare: Declare) -> int:
    """Count the bytes below which a candidate's file cannot be: counted by its operator, or else its weights.

    `model` is what the candidate's reductions make of the original. Only weights of two or more dimensions count, once
    each: others can be folded into a layer before them. A file leaves out what no forward pass reads.
    """
    producer = candidate.model.rpartition(".")[0]
    made = next(step.prediction for step in plan.steps if step.id == producer)
    if made.basis_of("output_bytes") == "counted" and made.output_bytes is not None:
        return made.output_bytes
    if candidate.method == GIVEN:
        return 0  # the file is there, and its size is a gate's to judge
    shaped = [layer for layer in model.layers if len(layer.weight_shape) > 1 and not layer.unread]
    weights = sum(min(math.prod(layer.weight_shape), layer.parameters) for layer in shaped)
    method = None if candidate.method == "none" else declare(method_operator(candidate.method)).method
    if method is None or not method.bits:
        return weights * model.weight_bytes // max(1, model.parameters)
    return weights * min(method.bits) // 8


def model_facts(plan: Plan, model: ModelFacts, declare: Declare) -> dict[str, ModelFacts]:
    """Return the facts of the model at every "step.port" that holds one, after all reductions that lead to it."""
    facts: dict[str, ModelFacts] = {}
    for step in plan.steps:
        source = step.inputs.get("model")
        before = facts.get(source, model) if isinstance(source, str) else model
        declaration = declare(step.operator)
        after = before
        if declaration.model_after is not same_model:
            after = declaration.model_after(full_params(declaration.params, step.params), before)
        facts |= {f"{step.id}.{port}": after for port, kind in declaration.outputs.items() if is_model(kind)}
    return facts


def _size_diagnostic(plan: Plan, gate: Gate, floors: dict[str, int], where: Place | None) -> Diagnostic:
    demand, limit = format_size(min(floors.values())), format_size(int(gate.threshold))
    predicted = {candidate.id: candidate.predicted_bytes or 0 for candidate in plan.candidates}
    expected = {name: max(floor, predicted[name]) for name, floor in floors.items()}
    smallest = min(expected, key=lambda name: expected[name])
    origin = "" if where is not None else f" ({gate.origin})"
    return Diagnostic(
        "P023",
        f"the smallest file that can be made here has {demand} or more, and the limit is {limit}{origin}",
        where,
        help=f"write target.size: {_rounded_up(expected[smallest])} or more, which {smallest} is expected to keep"
        + _smaller(plan),
    )


def _smaller(plan: Plan) -> str:
    """Say of every method that is left out why, so that the one who asks for a small file sees what forbids it."""
    line = next((decision for decision in plan.decisions if decision.subject == "quantization.method"), None)
    if line is None or line.asked != "auto":
        return ", or allow a method with fewer bits"
    left_out = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason(line.rejected).items())
    return f"; left out are {left_out}" if left_out else ""


def _rounded_up(size: int) -> str:
    """Write a size as a recipe would, in whole KiB."""
    return write_size(-(-size // 1024) * 1024)


def short_of(needs: Mapping[str, Need], running: Collection[str], capacity: Capacity) -> tuple[Diagnostic, ...]:
    """Say which memory or disk is certain not to suffice for the steps that run; empty where it may.

    Each step's memory counts alone, since they run one after the other; what they store adds up.
    """
    running_needs = {step: need for step, need in needs.items() if step in running}
    if not running_needs:
        return ()
    return (*_memory(running_needs, capacity), *_devices(running_needs, capacity), *_disk(running_needs, capacity))


def _memory(needs: Mapping[str, Need], capacity: Capacity) -> Iterator[Diagnostic]:
    worst = max(needs, key=lambda step: needs[step].memory_bytes)
    demand, supply = needs[worst].memory_bytes, capacity.memory_bytes
    if supply is not None and demand > supply:
        there = _there(supply, "this machine has", capacity)
        yield _batch(worst, needs[worst], demand, supply, "memory", there) or _shortage(
            worst, demand, "memory", there, capacity, _relief(demand)
        )


def _devices(needs: Mapping[str, Need], capacity: Capacity) -> Iterator[Diagnostic]:
    for device, supply in capacity.devices.items():
        demands = {step: need.device_bytes for step, need in needs.items() if need.device == device}
        worst = max(demands, key=lambda step: demands[step], default="")
        if worst and demands[worst] > supply:
            there, what = _there(supply, f"{device} has", capacity), f"memory on {device}"
            yield _batch(worst, needs[worst], demands[worst], supply, what, there) or _shortage(
                worst, demands[worst], what, there, capacity, "or hand over a smaller model"
            )


def _batch(step: str, need: Need, demand: int, supply: int, what: str, there: str) -> Diagnostic | None:  # noqa: PLR0917
    """Say that a batch is too large, and which is not; None where a smaller one would not fit either."""
    largest = need.largest_batch(demand, supply)
    if not largest:
        return None
    return Diagnostic(
        "P025",
        f"step {step} answers a batch of {need.batch:,} and needs {format_size(demand)} of {what} or more for it, "
        f"and {there}",
        help=f"{largest:,} is the largest batch that may fit: lower profile.batches, or target.latency.batch",
    )


def _there(supply: int, has: str, capacity: Capacity) -> str:
    return f"{format_size(supply)} are free now" if capacity.free else f"{has} {format_size(supply)}"


def _shortage(step: str, demand: int, what: str, there: str, capacity: Capacity, relief: str) -> Diagnostic:  # noqa: PLR0917
    needed = format_size(demand)
    remedy = f"run it where there is more than {needed}, {relief}"
    if capacity.free:
        remedy = f"end what else runs here until {needed} are free, or {remedy}"
    return Diagnostic("P025", f"step {step} needs {needed} of {what} or more, and {there}", help=remedy)


def _relief(demand: int) -> str:
    if demand < 2 * WORKER_BYTES:
        return f"most of which torch itself takes ({format_size(WORKER_BYTES)})"
    return "or hand over a smaller model or fewer rows"


def _disk(needs: Mapping[str, Need], capacity: Capacity) -> Iterator[Diagnostic]:
    supply, demand = capacity.disk_bytes, sum(need.output_bytes for need in needs.values())
    if supply is not None and demand > supply:
        yield Diagnostic(
            "P024",
            f"the steps to run write {format_size(demand)} or more, and {format_size(supply)} are free on the disk",
            help=f"free at least {format_size(demand - supply)}, or set TITRANT_HOME to a folder on another disk",
        )

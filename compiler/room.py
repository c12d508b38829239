"""What the steps of a plan are certain to need of memory and disk, counted from the facts."""

from titrant.compiler.feasible import least_bytes
from titrant.compiler.ports import Declare, given_kinds, references, split_reference
from titrant.runtime import catalog
from titrant.schema.data_size import spec_bytes
from titrant.schema.facts import DataFacts, Hardware, HardwareVolatile, ModelFacts, TensorSpec
from titrant.schema.frozen import dataclass
from titrant.schema.need import WORKER_BYTES, Need, Room
from titrant.schema.plan import Plan, Step

MODELS = ("torch", "onnx", "torchscript")


@dataclass(frozen=True)
class Case:
    """A plan with the facts that it was made from."""

    plan: Plan
    model: ModelFacts
    data: DataFacts
    declare: Declare = catalog.get


def needs(case: Case) -> dict[str, Need]:
    """Say of every step what it cannot do without: each array once, as it is read or stored, and the weights."""
    return {step.id: _need(case, step) for step in case.plan.steps}


def room_of(hardware: Hardware) -> Room:
    """Return what a machine has, whoever uses it at the moment; of the disk only what is free can be had."""
    gpus = hardware.identity.gpus
    devices = {f"{gpu.kind}:{gpu.index}": gpu.memory_bytes for gpu in gpus if gpu.memory_bytes is not None}
    return Room(hardware.identity.memory_bytes, hardware.volatile.disk_free_bytes, devices)


def room_now(hardware: Hardware, worker: bool = False) -> Room:
    """Return what is free on a machine at this moment; `worker` says that one is running, whose memory is taken."""
    now = hardware.volatile
    memory = now.memory_available_bytes
    if memory is not None and worker:
        memory += WORKER_BYTES
    return Room(memory, now.disk_free_bytes, _free_devices(hardware, now), free=True)


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
    rows = sum(_rows_bytes(case, split_reference(one)[1]) for one, kind in read.items() if kind == "rows")
    weights = max((_model_bytes(case, one) for one, kind in read.items() if kind in MODELS), default=0)
    facts = case.model
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
    made = [least_bytes(one, plan, case.model, case.declare) for one in plan.candidates if one.model == reference]
    return min(made, default=0)

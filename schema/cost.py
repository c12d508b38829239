"""What the steps of a plan cost: the memory and disk that they need and whether it is there, and what they took.

Also how long loading a library takes, and what is known of a step's inputs before anything runs.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field

from titrant.schema.diagnostics.diagnostics import Diagnostic
from titrant.schema.facts import Bench, DataFacts, HardwareIdentity
from titrant.schema.plan import ModelCost
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import format_size

# What a worker holds that is its own before its first step: 147 MiB with torch 2.13 for the CPU, onnxruntime not yet
# loaded; other builds of torch take more. Counted low, so that it refuses nothing that could run.
WORKER_BYTES = 128 << 20


@dataclass(frozen=True)
class Need:
    """What one step cannot do without, in bytes counted from below.

    `memory_bytes` holds the worker; `device_bytes` lie on `device` (cuda:0), an accelerator with memory of its own.
    Both hold the largest batch that a recipe asks the step to answer at once: `batch` cases of `case_bytes` each.
    """

    memory_bytes: int
    output_bytes: int = 0
    device: str = "cpu"
    device_bytes: int = 0
    batch: int = 0
    case_bytes: int = 0

    def largest_batch(self, demand: int, supply: int) -> int:
        """Return the largest batch with which a demand that holds this one fits; 0 where none does."""
        if not self.batch or not self.case_bytes:
            return 0
        beside = demand - self.batch * self.case_bytes
        return max(0, min(self.batch, (supply - beside) // self.case_bytes))


@dataclass(frozen=True)
class Capacity:
    """What there is to take, None or left out where it is not known.

    `free` tells what is free at this moment from what a machine has at all; disk is always what is free.
    """

    memory_bytes: int | None = None
    disk_bytes: int | None = None
    devices: Mapping[str, int] = field(default_factory=dict)  # cuda:0 → bytes
    free: bool = False


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


@dataclass(frozen=True)
class Observation:
    """What one step cost beside what its operator's formula had said; `shape` is that of its prediction.

    `loads` are the libraries that were loaded for it, in seconds; `models` and `formula_models` the median seconds of
    the smallest batch of each model that it timed, and what the formula had said.
    """

    operator: str
    shape: str
    seconds: float
    peak_bytes: int
    output_bytes: int
    formula_seconds: float | None = None
    formula_peak_bytes: int | None = None
    loads: Mapping[str, float] = field(default_factory=dict)
    models: Mapping[str, float] = field(default_factory=dict)
    formula_models: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"  # cpu, cuda, mps: what is wrong with a formula for one says nothing of another


def machine_key(identity: HardwareIdentity) -> str:
    """Digest what makes two machines equally fast, as far as one can tell: what was learned on one holds for it."""
    from titrant.schema.values.canonical import plain, sha256

    names = ("system", "machine", "cpu", "instructions", "cores", "memory_bytes")
    parts = {name: getattr(identity, name) for name in names}
    return sha256(plain({**parts, "gpus": [[gpu.kind, gpu.name] for gpu in identity.gpus]}))[:16]


def smallest_batch(cost: ModelCost) -> float:
    """Return the seconds of the smallest batch."""
    return cost.seconds[min(cost.seconds, key=int)]


# Measured with torch 2.13, scikit-learn 1.9, pandas 3 and matplotlib 3.11, each after what is loaded before it in a
# run; starting a worker with torch took 2.9 s there. What is not here is small.
_SHARES = {
    "torch": 0.83,
    "sklearn.datasets": 0.57,
    "matplotlib.pyplot": 0.29,
    "pandas": 0.15,
    "pyarrow.parquet": 0.1,
    "scipy.stats": 0.35,
    "torch._dynamo": 0.8,
    "torch.onnx": 0.02,
    "onnx": 0.05,
    "onnxruntime": 0.02,
    "onnxruntime.quantization": 0.03,
    "titrant.runtime.report.page": 0.06,
}
_SMALL = 0.01
# Stands beside the libraries that a step needs: starting the process itself.
WORKER = "worker"
# Where nothing was measured.
_WORKER_SECONDS = 3.0


def worker_seconds(bench: Bench | None) -> float:
    """Return the seconds until a worker has started, without torch."""
    return _started(bench) * (1 - _SHARES["torch"])


def loading_seconds(module: str, bench: Bench | None) -> float:
    """Return the seconds that a module takes to load."""
    return _started(bench) * _SHARES.get(module, _SMALL)


def _started(bench: Bench | None) -> float:
    return (bench.import_seconds if bench is not None else None) or _WORKER_SECONDS


@dataclass(frozen=True)
class ModelUse:
    """A model that a step reads: by which method the original was reduced ("none": by none), its kind, its size."""

    method: str = "none"
    kind: str = "torch"  # torch, onnx, torchscript
    bytes: int | None = None


@dataclass(frozen=True)
class Work:
    """What is known of a step's inputs and of the plan around it.

    `rows` counts the rows at every port that holds some, `bytes` is the predicted size of what a port reads, `models`
    are the models there; of a port that takes many each is under its own name. `steps` and `candidates`
    count those of the whole plan, `values_bytes` is what all steps before write down as values.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, ModelUse] = field(default_factory=dict)
    data: DataFacts | None = None
    threads: int = 1
    steps: int = 0
    values_bytes: int = 0
    candidates: int = 1


NOTHING_KNOWN = Work()

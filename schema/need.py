"""What the steps of a plan cannot do without, and whether there is room for it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field

from titrant.schema.diagnostics import Diagnostic
from titrant.schema.frozen import dataclass
from titrant.schema.units import format_size

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
class Room:
    """What there is to take, None or left out where it is not known.

    `free` tells what is free at this moment from what a machine has at all; disk is always what is free.
    """

    memory_bytes: int | None = None
    disk_bytes: int | None = None
    devices: Mapping[str, int] = field(default_factory=dict)  # cuda:0 → bytes
    free: bool = False


def short_of(needs: Mapping[str, Need], running: Collection[str], room: Room) -> tuple[Diagnostic, ...]:
    """Say which memory or disk is certain not to suffice for the steps that run; empty where it may.

    Each step's memory counts alone, since they run one after the other; what they store adds up.
    """
    wanted = {step: need for step, need in needs.items() if step in running}
    return (*_memory(wanted, room), *_devices(wanted, room), *_disk(wanted, room)) if wanted else ()


def _memory(needs: Mapping[str, Need], room: Room) -> Iterator[Diagnostic]:
    worst = max(needs, key=lambda step: needs[step].memory_bytes)
    demand, supply = needs[worst].memory_bytes, room.memory_bytes
    if supply is not None and demand > supply:
        there = _there(supply, "this machine has", room)
        yield _batch(worst, needs[worst], demand, supply, "memory", there) or _lacking(
            worst, demand, "memory", there, room, _relief(demand)
        )


def _devices(needs: Mapping[str, Need], room: Room) -> Iterator[Diagnostic]:
    for device, supply in room.devices.items():
        demands = {step: need.device_bytes for step, need in needs.items() if need.device == device}
        worst = max(demands, key=lambda step: demands[step], default="")
        if worst and demands[worst] > supply:
            there, what = _there(supply, f"{device} has", room), f"memory on {device}"
            yield _batch(worst, needs[worst], demands[worst], supply, what, there) or _lacking(
                worst, demands[worst], what, there, room, "or hand over a smaller model"
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


def _there(supply: int, has: str, room: Room) -> str:
    return f"{format_size(supply)} are free now" if room.free else f"{has} {format_size(supply)}"


def _lacking(step: str, demand: int, what: str, there: str, room: Room, relief: str) -> Diagnostic:  # noqa: PLR0917
    needed = format_size(demand)
    remedy = f"run it where there is more than {needed}, {relief}"
    if room.free:
        remedy = f"end what else runs here until {needed} are free, or {remedy}"
    return Diagnostic("P025", f"step {step} needs {needed} of {what} or more, and {there}", help=remedy)


def _relief(demand: int) -> str:
    if demand < 2 * WORKER_BYTES:
        return f"most of which torch itself takes ({format_size(WORKER_BYTES)})"
    return "or hand over a smaller model or fewer rows"


def _disk(needs: Mapping[str, Need], room: Room) -> Iterator[Diagnostic]:
    supply, demand = room.disk_bytes, sum(need.output_bytes for need in needs.values())
    if supply is not None and demand > supply:
        yield Diagnostic(
            "P024",
            f"the steps to run write {format_size(demand)} or more, and {format_size(supply)} are free on the disk",
            help=f"free at least {format_size(demand - supply)}, or set TITRANT_HOME to a folder on another disk",
        )

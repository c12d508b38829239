"""What steps cost on a machine: what predictions are learned from, apart from every plan's identity."""

from collections.abc import Mapping
from dataclasses import field

from titrant.schema.facts import HardwareIdentity
from titrant.schema.frozen import dataclass
from titrant.schema.plan import ModelCost


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
    from titrant.schema.canonical import plain, sha256

    names = ("system", "machine", "cpu", "instructions", "cores", "memory_bytes")
    parts = {name: getattr(identity, name) for name in names}
    return sha256(plain({**parts, "gpus": [[gpu.kind, gpu.name] for gpu in identity.gpus]}))[:16]


def smallest_batch(cost: ModelCost) -> float:
    """Return the seconds of the smallest batch."""
    return cost.seconds[min(cost.seconds, key=int)]

"""The lock of a recipe: what was decided, and what came out, on each class of hardware that it ran on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from titrant.schema.canonical import sha256

FORM = 1
# Named in the class's name, the strongest first; the digest covers all.
_TELLING = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "dotprod", "asimddp", "neon")


@dataclass(frozen=True)
class HardwareClass:
    """Everything of a machine and its software that can change the bytes of the steps that ran."""

    system: str
    machine: str
    python: str  # major.minor
    instructions: tuple[str, ...]
    accelerators: tuple[str, ...]
    packages: Mapping[str, str]  # the libraries that the steps' operators use

    @property
    def name(self) -> str:
        """Return a name for people with a digest of all of it: linux-x86_64-avx2-1a2b3c4d."""
        telling = next((one for one in _TELLING if one in self.instructions), "plain")
        parts = [self.system, self.machine, *(["gpu"] if self.accelerators else []), telling, sha256(self)[:8]]
        return "-".join(parts)


@dataclass(frozen=True)
class Evaluation:
    """The rows that judged, and how many runs with different candidates have looked at them so far."""

    digest: str
    runs: int


@dataclass(frozen=True)
class LockedSearch:
    """What a search judged, in the order of its plan, and released."""

    judged: tuple[str, ...]
    released: str


@dataclass(frozen=True)
class LockedCandidate:
    """What became of a candidate, why, and the measurements that made it so: bytes, seconds, fractions."""

    became: str
    because: str
    measured: Mapping[str, float | int] = field(default_factory=dict)


@dataclass(frozen=True)
class LockedGate:
    """How a released or judged candidate answered a gate; another run's value may lie `within` this share of it."""

    verdict: str
    value: float | int | None
    within: float


@dataclass(frozen=True)
class LockedStep:
    """The key of a step whose bytes must come out again, and the digests of its outputs by port."""

    key: str
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class LockEntry:
    """One class of hardware: from what, decided how, with which results."""

    recipe: str
    model: str
    data: str
    evaluation: Evaluation
    run: str
    titrant: str
    hardware: HardwareClass
    decisions: Mapping[str, str]
    searches: Mapping[str, LockedSearch]
    candidates: Mapping[str, LockedCandidate]
    gates: Mapping[str, Mapping[str, LockedGate]]  # candidate → gate → answer
    steps: Mapping[str, LockedStep]


@dataclass(frozen=True)
class Lock:
    """A recipe's lock: an entry for each class of hardware, by its name."""

    name: str
    entries: Mapping[str, LockEntry] = field(default_factory=dict)


def with_entry(lock: Lock, entry: LockEntry) -> Lock:
    """Return a lock whose entry for that class of hardware is this one; the others stay as they are."""
    entries = {**lock.entries, entry.hardware.name: entry}
    return replace(lock, entries={name: entries[name] for name in sorted(entries)})

"""The lock of a recipe: what was decided and what came out on each class of hardware, as YAML beside the recipe."""

from collections.abc import Mapping
from dataclasses import field, fields, replace
from pathlib import Path
from typing import Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.canonical import WrongValueError, plain, read_back, sha256
from titrant.schema.values.files import LOCK_SUFFIXES
from titrant.schema.values.frozen import dataclass

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
        telling = next((instruction for instruction in _TELLING if instruction in self.instructions), "plain")
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
    """What became of a candidate, why, and the measurements that made it so: bytes, seconds, fractions.

    `left` are the layers that a mixture leaves in higher precision.
    """

    became: str
    because: str
    measured: Mapping[str, float | int] = field(default_factory=dict)
    left: tuple[str, ...] = ()


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
    judged_on: str = ""  # the day at which waivers were read; "" without any


@dataclass(frozen=True)
class Lock:
    """A recipe's lock: an entry for each class of hardware, by its name."""

    name: str
    entries: Mapping[str, LockEntry] = field(default_factory=dict)


def with_entry(lock: Lock, entry: LockEntry) -> Lock:
    """Return a lock whose entry for that class of hardware is this one; the others stay as they are."""
    entries = {**lock.entries, entry.hardware.name: entry}
    return replace(lock, entries={name: entries[name] for name in sorted(entries)})


_HEAD = """\
# Written by titrant: review it, commit it beside the recipe, do not edit it.
# One entry for each class of hardware: what was decided, the measurements that decided it, and what came out.
# Check it with: titrant lock {recipe} --check
"""
# Figures beyond this many digits are noise that only makes diffs longer.
_DIGITS = 6
_WIDTH = 100_000
# How git marks where two sides of a merge differ.
_CONFLICT = "<<<<<<< "


def lock_path(recipe: Path) -> Path:
    """Return where a recipe's lock stands: beside it, `x.lock.yaml` for `x.yaml`."""
    return recipe.with_name(f"{recipe.stem}{LOCK_SUFFIXES[0]}")


def recipe_path(lock: Path) -> Path:
    """Return the recipe that a lock stands beside."""
    stem = next((lock.name.removesuffix(suffix) for suffix in LOCK_SUFFIXES if lock.name.endswith(suffix)), lock.name)
    other = lock.with_name(f"{stem}.yml")
    return other if other.is_file() else lock.with_name(f"{stem}.yaml")


def lock_text(lock: Lock, recipe: str) -> str:
    """Write a lock: the same lock gives the same text, one fact a line, in an order that stays."""
    from titrant.schema.language.write import dump

    entries = {name: _rounded(plain(lock.entries[name])) for name in sorted(lock.entries)}
    for candidate in (each for entry in entries.values() for each in entry["candidates"].values()):
        if not candidate["left"]:
            del candidate["left"]
    for entry in entries.values():
        if not entry["judged_on"]:
            del entry["judged_on"]
    value = {"titrant_lock": FORM, "name": lock.name, "entries": entries}
    return _HEAD.format(recipe=recipe) + dump(value, width=_WIDTH)


def names_run(path: Path, run: str) -> bool:
    """Tell whether a lock file has an entry made from a run, without parsing it; False where it cannot be read."""
    try:
        return f"    run: {run}\n" in path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def read_lock(path: Path) -> Lock | None:
    """Read a lock file; None where there is none. Raises RecipeError P091 for one that is damaged."""
    from titrant.schema.language.parse import mapping
    from titrant.schema.language.spans import Origin
    from titrant.schema.language.yaml_tree import plain_value

    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from None
    try:
        root, diagnostics = mapping(text, Origin(str(path), path.parent, tuple(text.split("\n"))))
    except RecipeError as error:
        root, diagnostics = None, list(error.diagnostics)
    if root is None or diagnostics:
        place, message = diagnostics[0].where, diagnostics[0].message
        merging = any(line.startswith(_CONFLICT) for line in text.split("\n"))
        raise _damaged(path, f"line {place.line}: {message}" if place is not None else message, merging=merging)
    value = plain_value(root)
    if value.pop("titrant_lock", None) != FORM:
        raise _damaged(path, f"it is not a lock of form {FORM}")
    _refuse_unknown(value, path)
    try:
        return read_back(Lock, value)
    except WrongValueError as error:
        raise _damaged(path, str(error)) from None


def _refuse_unknown(value: Mapping[str, Any], path: Path) -> None:
    unknown = sorted(set(value) - {field.name for field in fields(Lock)})
    if unknown:
        raise _damaged(path, f"it has an unknown key {unknown[0]}")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _damaged(path: Path, why: str, *, merging: bool = False) -> RecipeError:
    sides = "keep the entries of both sides, and of each `runs` the higher number"
    mend = sides if merging else "restore it from version control"
    advice = f"{mend}; or remove it and write it anew: titrant lock {recipe_path(path)}"
    return RecipeError(Diagnostic("P091", f"{path} cannot be read: {why}", help=advice))

"""Results of steps by step key, the digest of all that can change one, valid while what they depend on is unchanged.

When a result was last used is the modification time of its key's folder.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from titrant.runtime.backends import backend
from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.declarations import Described, first_changed
from titrant.runtime.store.home import Home
from titrant.runtime.store.store_index import KEY_FILE, REFUSED, changed_since, result_name, sealed
from titrant.schema.facts import HardwareIdentity
from titrant.schema.plan import Plan, Step, without_paths
from titrant.schema.record import Artifact, Dependency, StepResult, files_read_by, is_named
from titrant.schema.values import files
from titrant.schema.values.canonical import WrongValueError, read_back, sha256
from titrant.schema.values.dependencies import shown
from titrant.schema.values.distributions import installed_version
from titrant.schema.values.extensions import Extension, code_digest, extensions
from titrant.schema.values.files import json_object
from titrant.schema.values.frozen import dataclass

# What a step reads: one artifact, or several by name.
InputArtifacts = Mapping[str, Artifact | Mapping[str, Artifact]]
T = TypeVar("T")
# A use within this time of the one before is not written down again.
SLACK_SECONDS = 600.0


@dataclass(frozen=True)
class StepKey:
    """A key and what it is the digest of, so that two keys can be compared by a person."""

    digest: str
    parts: Mapping[str, Any]


def step_key(plan: Plan, step: Step, described: Described, inputs: InputArtifacts) -> StepKey:
    """Digest operator, parameters, inputs, seed and the part of the environment that can change the result.

    Paths do not count, only what the files hold. A measurement also depends on the processor that it was taken on.
    """
    machine = plan.hardware
    libraries = (*described.libraries, *_engine_packages(step, described, machine))
    parts: dict[str, Any] = {
        "operator": step.operator,
        "version": described.version,
        "params": without_paths(step.params),
        "inputs": {port: _digests(given) for port, given in inputs.items()},
        "seed": step.seed,
        "threads": plan.threads,
        "deterministic": plan.deterministic,
        "device": _device(step, machine),
        "machine": machine.machine,
        "instructions": list(machine.instructions),
        "python": ".".join(machine.python.split(".")[:2]),
        "libraries": {name: _version(name, machine) for name in libraries},
    }
    if added := _added(step, described):
        # Such a package may be edited where it stands, without another version.
        parts["added"] = {extension.module: code_digest(extension) for extension in added}
    if described.determinism == "measured":
        parts["processor"] = {"name": machine.cpu, "cores": machine.cores}
    return StepKey(sha256(parts), parts)


def _digests(given: Artifact | Mapping[str, Artifact]) -> str | dict[str, str]:
    if isinstance(given, Artifact):
        return given.digest
    return {name: artifact.digest for name, artifact in given.items()}


def _device(step: Step, machine: HardwareIdentity) -> str | dict[str, Any]:
    name = str(step.params.get("device", "cpu"))
    if name == "cpu":
        return name
    kind, _, index = name.partition(":")
    for gpu in machine.gpus:
        if gpu.kind == kind and gpu.index == int(index or 0):
            return {"kind": kind, "name": gpu.name, "capability": gpu.capability, "driver": gpu.driver}
    return name


def _engine_packages(step: Step, described: Described, machine: HardwareIdentity) -> Iterator[str]:
    """Yield the distributions whose versions shape a step: those of its engines, and those that add these or it."""
    for engine in _engines(step, described):
        yield from (name for name in backend.get(engine).packages if _version(name, machine) is not None)
    yield from (extension.distribution for extension in _added(step, described))


def _engines(step: Step, described: Described) -> list[str]:
    """List the engines that a step's parameters name, alone or by model."""
    named = [step.params[parameter] for parameter in described.engines]
    return sorted({engine for value in named for engine in ([value] if isinstance(value, str) else value.values())})


def _added(step: Step, described: Described) -> list[Extension]:
    """List what packages bring to titrant of a step: its engines and its operator."""
    engines, operators = extensions("backends"), extensions("operators")
    own = [engines[name] for name in _engines(step, described) if name in engines]
    return [*own, *([operators[step.operator]] if step.operator in operators else [])]


def _version(name: str, machine: HardwareIdentity) -> str | None:
    if name in machine.packages:
        return machine.packages[name]
    return installed_version(name)


@dataclass(frozen=True)
class Refusal:
    """An operator refused its inputs: it would again, as long as its key and the user's files stay the same."""

    key: str
    operator: str
    code: str
    message: str
    help: str = ""
    dependencies: tuple[Dependency, ...] = ()


@dataclass(frozen=True)
class LookUp:
    """What a look-up gave: a result, a refusal, or neither with the reason, "" where nothing was ever kept."""

    result: StepResult | None = None
    refusal: Refusal | None = None
    because: str = ""


class Results:
    """The results of one home; `folder` is the recipe's, to which dependencies are relative.

    Without `reuse` nothing is found and nothing is kept: every step runs, and what is there stays as it is.
    """

    def __init__(self, home: Home, store: Store, folder: Path, *, reuse: bool = True) -> None:
        self.home = home
        self._folder = home.results
        self.store = store
        self._recipe_folder = folder
        self._reuse = reuse

    def find(self, key: str) -> LookUp:
        """Look for a result whose dependencies are unchanged and whose artifacts are all in the store."""
        if not self._reuse:
            return LookUp()
        because = ""
        for path in self._files(key):
            value = json_object(path)
            if value is None:
                continue
            kept = _parsed(Refusal, value) if path.name.startswith(REFUSED) else _parsed(StepResult, value)
            if kept is None:
                continue
            if changed_since(path, value):
                because = f"its result {path.name[:12]}… was changed since it was written"
                continue
            changed = first_changed(kept.dependencies, self._recipe_folder)
            if changed is not None:
                what = shown(changed.path) if is_named(changed) else f"one of the {files_read_by(kept.operator)}"
                because = f"{what} changed"
            elif isinstance(kept, Refusal):
                return LookUp(refusal=kept)
            elif all(self.store.has(artifact) for artifact in kept.outputs.values()):
                used(path.parent)
                return LookUp(result=kept)
            else:
                because = "its output is missing or damaged in the store"
        return LookUp(because=because)

    def keep(self, key: StepKey, result: StepResult) -> bool:
        """Keep a result; returns True when another one with the same key and dependencies gave other outputs."""
        if not self._reuse:
            return False
        other = any(
            kept.dependencies == result.dependencies and dict(kept.outputs) != dict(result.outputs)
            for path in self._files(key.digest)
            if not path.name.startswith(REFUSED)
            and (value := json_object(path)) is not None
            and (kept := _parsed(StepResult, value)) is not None
            and not changed_since(path, value)
        )
        self._write(key, result)
        return other

    def keep_refusal(self, key: StepKey, refusal: Refusal) -> None:
        """Keep that an operator refused its inputs."""
        if not self._reuse:
            return
        self._write(key, refusal)

    def parts(self, key: str) -> Mapping[str, Any] | None:
        """Return what a key is the digest of, if it was kept."""
        parts: Mapping[str, Any] | None = json_object(self._folder / key / KEY_FILE)
        return parts

    def _files(self, key: str) -> Iterator[Path]:
        folder = self._folder / key
        try:
            paths = sorted(folder.iterdir())
        except FileNotFoundError:
            return
        yield from (path for path in paths if path.suffix == ".json" and path.name[0] != "." and path.name != KEY_FILE)

    def _write(self, key: StepKey, kept: StepResult | Refusal) -> None:
        folder, value = self._folder / key.digest, sealed(kept)
        for last in (False, True):
            folder.mkdir(exist_ok=True)
            try:
                if not (folder / KEY_FILE).exists():
                    files.write_json(folder / KEY_FILE, key.parts)
                files.write_json(folder / result_name(value), value)
                return
            except FileNotFoundError:
                # The store is being cleaned, and the folder of an old result went away in between.
                if last:
                    raise


def result_from(answer: Mapping[str, Any], **fields: Any) -> StepResult:
    """Make a result from a worker's answer."""
    return read_back(StepResult, {**answer, **fields})


def _parsed(kind: type[T], value: Mapping[str, Any]) -> T | None:
    try:
        return read_back(kind, value)
    except WrongValueError:
        return None


def used(folder: Path) -> None:
    """Write down that a result is used now; a folder that just went away is nothing to write down."""
    with contextlib.suppress(OSError):
        if time.time() - folder.stat().st_mtime > SLACK_SECONDS:
            os.utime(folder)

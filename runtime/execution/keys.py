"""Step keys: everything that can change a step's result, digested."""

from collections.abc import Mapping
from typing import Any

from titrant.runtime.execution.declarations import Described
from titrant.schema.artifact import Artifact
from titrant.schema.canonical import sha256
from titrant.schema.facts import HardwareIdentity
from titrant.schema.frozen import dataclass
from titrant.schema.installed_versions import installed_version
from titrant.schema.plan import Plan, Step, without_paths

# What a step reads: one artifact, or several by name.
Inputs = Mapping[str, Artifact | Mapping[str, Artifact]]


@dataclass(frozen=True)
class StepKey:
    """A key and what it is the digest of, so that two keys can be compared by a person."""

    digest: str
    parts: Mapping[str, Any]


def step_key(plan: Plan, step: Step, described: Described, inputs: Inputs) -> StepKey:
    """Digest operator, parameters, inputs, seed and the part of the environment that can change the result.

    Paths do not count, only what the files hold. A measurement also depends on the processor that it was taken on.
    """
    machine = plan.hardware
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
        "libraries": {name: _version(name, machine) for name in described.libraries},
    }
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


def _version(name: str, machine: HardwareIdentity) -> str | None:
    if name in machine.packages:
        return machine.packages[name]
    return installed_version(name)

"""Check a rerun against its run: outputs of exact steps, files that somebody changed, packages that differ.

A step is exact where its bytes must come out again, because it does not follow from measurements.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.store.declarations import Declarations
from titrant.runtime.store.home import Home
from titrant.runtime.store.run_folder import MANIFEST
from titrant.schema.compare.runs import RecordedRun
from titrant.schema.compare.steps import results
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, TitrantError
from titrant.schema.plan import MENDING_STAGE, Plan, Step
from titrant.schema.record import NOT_TRIED, Artifact, RunRecord
from titrant.schema.values.files import digest_file
from titrant.schema.values.frozen import dataclass

# Of an operator, by name: exact, tolerance or measured.
Claims = Callable[[str], str]


@dataclass(frozen=True)
class Parting:
    """One output of a step that came out otherwise; `same_key`: by all that a key sees it was to be the same."""

    step: Step
    port: str
    old: Artifact
    new: Artifact
    same_key: bool


def exact_steps(plan: Plan, claims: Claims) -> list[Step]:
    """List the steps that neither measure nor read, however indirectly, what others measured, in the plan's order.

    Which layers a mixture leaves alone follows from timings, and is replayed as it was recorded: what is made of it is
    exact again, and what the allocation alone reads does not run again.
    """
    timed: set[str] = {"run"}  # `run.record`, which the report reads, holds every timing
    replayed = {candidate.allocation.rpartition(".")[0] for candidate in plan.candidates if candidate.allocation}
    replayed |= _read_by_those_alone(plan, replayed)
    exact = []
    for step in plan.steps:
        if step.id in replayed:
            continue
        if claims(step.operator) == "measured" or any(producer in timed for producer in producers(step)):
            timed.add(step.id)
        else:
            exact.append(step)
    return exact


def _read_by_those_alone(plan: Plan, readers: Collection[str]) -> set[str]:
    """Name the steps of no candidate that a search runs for some of its steps and nobody else reads."""
    shared = {step.id for step in plan.steps if step.stage == MENDING_STAGE and not step.candidate}
    others = {name for step in plan.steps if step.id not in readers for name in producers(step)}
    read = {name for step in plan.steps if step.id in readers for name in producers(step)}
    return (shared & read) - others


def untried(record: RunRecord) -> set[str]:
    """Name the candidates of a run that were not tried: what there is of them is another's file, or was not needed."""
    return {candidate.candidate for candidate in record.candidates if candidate.status == NOT_TRIED}


def asked_in_vain(plan: Plan, record: RunRecord) -> set[str]:
    """Name the steps that asked candidates if their answers hold which were not judged: whom, timings may have said."""
    judged = {each.candidate for each in record.candidates if each.judgement is not None}
    asked = [(each.id in judged, ref) for each in plan.candidates for ref in (each.repeats, each.invariance)]
    counting = {reference for counts, reference in asked if counts}
    return {reference.rpartition(".")[0] for counts, reference in asked if not counts and reference not in counting}


def producers(step: Step) -> Iterator[str]:
    """Yield the id of every step that a step reads."""
    for source in step.inputs.values():
        for reference in [source] if isinstance(source, str) else source.values():
            yield reference.rpartition(".")[0]


def outputs(old: RecordedRun, new: RecordedRun, claims: Claims) -> tuple[list[Parting], int]:
    """List the outputs of exact steps that differ between two runs, in the order of steps, and count the same ones."""
    before, after = results(old.record), results(new.record)
    partings, same = [], 0
    for step in exact_steps(new.plan, claims):
        mine, theirs = before.get(step.id), after.get(step.id)
        if mine is None or theirs is None or mine.result is None or theirs.result is None:
            continue
        for port, artifact in mine.result.outputs.items():
            other = theirs.result.outputs.get(port)
            if other is None:
                continue
            if other.digest == artifact.digest:
                same += 1
            else:
                partings.append(Parting(step, port, artifact, other, mine.key == theirs.key))
    return partings, same


def one_sided(old: RecordedRun, new: RecordedRun, claims: Claims) -> list[tuple[Step, str]]:
    """List the exact steps that only one of two runs has a result of, with which: "recorded" or "new".

    Those of candidates that neither run tried are not missed, nor what asked those that were not judged.
    """
    before, after = results(old.record), results(new.record)
    ignored = untried(old.record) & untried(new.record)
    in_vain = asked_in_vain(old.plan, old.record) | asked_in_vain(new.plan, new.record)
    sides = ((old.plan, before, after, "recorded"), (new.plan, after, before, "new"))
    return [
        (step, which)
        for plan, there, other, which in sides
        for step in exact_steps(plan, claims)
        if step.id in there and step.id not in other and step.candidate not in ignored and step.id not in in_vain
    ]


def recorded_claims(home: Home, folder: Path) -> Claims:
    """Return what operators claim without running the user's code: his own count as they were last described."""

    def refuse(request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise RecipeError(Diagnostic("X314", f"{request['operator']} is not described yet"))

    return claims_of(Declarations(home, folder, refuse))


def claims_of(declarations: Declarations) -> Claims:
    """Return what operators claim, a user's own included; one that is gone claims exact, so that nothing is excused."""

    def claims(operator: str) -> str:
        try:
            return declarations.get(operator).determinism
        except (KeyError, TitrantError):
            return "exact"

    return claims


def tampered(old: Path, new: Path) -> list[str]:
    """Name the files of a run's `outputs` or `quarantine` that are not what it put there.

    `old` and `new` are the folders of the run and of its rerun: where both say that a model is the same artifact, with
    the same facts of its release, its file must be the same too, so that a manifest that was changed along with the
    file does not hide it.
    """
    said = _manifest(old)
    if said is None:
        return [MANIFEST]
    changed = {name for name, digest in said["files"].items() if _digest(old / name) != digest}
    again = _manifest(new) or {"files": {}, "models": []}
    same = [(model["artifact"], model.get("stamp")) for model in again["models"]]
    for model in said["models"]:
        if (model["artifact"], model.get("stamp")) in same:
            changed |= {
                name for name in _of(model, said) if again["files"].get(name) not in (None, _digest(old / name))
            }
    return sorted(changed)


def _of(model: dict[str, Any], manifest: dict[str, Any]) -> Iterator[str]:
    yield from (name for name in manifest["files"] if name == model["file"] or name.startswith(f"{model['file']}/"))


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        value = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and {"files", "models"} <= set(value) else None


def _digest(file: Path) -> str | None:
    try:
        return digest_file(file)
    except OSError:
        return None


def restore(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return one line of pip with every package that is gone or has another version now; "" where none has.

    A version's local part (`+cpu`) is kept: it names the build. Where Python itself differs that is said first.
    """
    before, after = old.get("packages", {}), new.get("packages", {})
    pins = [f"{name}=={version}" for name, version in before.items() if version and after.get(name) != version]
    command = f"pip install {' '.join(sorted(pins, key=str.lower))}" if pins else ""
    python = old.get("python")
    if python and _minor(python) != _minor(str(new.get("python", python))):
        return f"with Python {python}: {command}" if command else f"use Python {python}"
    return command


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]

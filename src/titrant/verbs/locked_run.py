"""Rerun from a lock: the run that it names, or, where that is not here, the recipe beside it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from titrant.schema.artifact import Artifact
from titrant.schema.compare_runs import RecordedRun
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.exit_codes import OK
from titrant.schema.gate import GateResult, Judgement
from titrant.schema.lock import LockedGate, LockEntry
from titrant.schema.plan import Decision, Plan
from titrant.schema.record import CandidateRecord, RunRecord, StepRecord, StepResult
from titrant.verbs.compare_rerun import Repeated
from titrant.verbs.lock_entry import NOTHING


def locked_run(path: Path, *, redecide: bool, trust: bool) -> Repeated:
    """Return what repeats a lock's entry for this class of hardware.

    Where the recipe is no longer beside the lock, the first of its runs that is in this home has it. Raises
    RecipeError P094 where there is neither, and StaleError P093 without an entry for this class.
    """
    from titrant.schema.lock_text import read_lock, recipe_path
    from titrant.schema.source import read
    from titrant.verbs.check_lock import entry_here
    from titrant.verbs.plan import plan
    from titrant.verbs.replan import otherwise, replan

    recipe = recipe_path(path)
    if recipe.is_file():
        planned = plan(read(recipe), trust=trust)
        entry = entry_here(planned, path)
        folder = _folder(entry)
        if folder is None:
            old = as_run(entry, planned.plan)
            return Repeated(old, planned, None, () if redecide else otherwise(old.plan, planned.plan))
        return replan(folder, redecide=redecide, trust=trust)
    found = read_lock(path)
    folders = (_folder(entry) for entry in (found.entries.values() if found is not None else ()))
    named = next((folder for folder in folders if folder is not None), None)
    if named is None:
        message = f"neither {recipe} nor a run that {path.name} names is here"
        raise RecipeError(Diagnostic("P094", message, help="put the recipe beside its lock, or set TITRANT_HOME"))
    return replan(named, redecide=redecide, trust=trust)


def _folder(entry: LockEntry) -> Path | None:
    """Return the folder of the run that an entry was made from, where it is in this home and came to its end."""
    from titrant.verbs.facts import home_folder

    folder = home_folder() / "runs" / entry.run
    return folder if (folder / "record.json").is_file() else None


def as_run(entry: LockEntry, plan: Plan) -> RecordedRun:
    """Return what a lock says as if it were a run's record, for a plan that is to repeat it."""
    machine = replace(
        plan.hardware,
        instructions=entry.hardware.instructions,
        packages={**plan.hardware.packages, **entry.hardware.packages},
    )
    chosen = {one.subject: one for one in plan.decisions}
    made = replace(
        plan,
        recipe_digest=entry.recipe,
        model_digest=entry.model,
        data_digest=entry.data,
        hardware=machine,
        decisions=tuple(
            replace(chosen.get(subject, Decision(subject, "", "", "", "lock")), chosen=value)
            for subject, value in entry.decisions.items()
        ),
    )
    return RecordedRun(made, _record(entry, plan), {"packages": dict(entry.hardware.packages)})


def _record(entry: LockEntry, plan: Plan) -> RunRecord:
    operators = {step.id: step.operator for step in plan.steps}
    released = tuple(one.released for one in entry.searches.values() if one.released != NOTHING)
    return RunRecord(
        run="",
        name=plan.name,
        plan_digest="",
        verdict="",
        exit=OK,
        steps=tuple(
            StepRecord(
                name, "finished", step.key, StepResult(step.key, operators.get(name, ""), _outputs(step.outputs))
            )
            for name, step in entry.steps.items()
        ),
        candidates=tuple(_candidate(entry, name) for name in entry.candidates),
        released=released,
        executed=0,
        reused=0,
        seconds=0.0,
    )


def _outputs(digests: Mapping[str, str]) -> dict[str, Artifact]:
    return {port: Artifact("", digest, 0) for port, digest in digests.items()}


def _candidate(entry: LockEntry, name: str) -> CandidateRecord:
    known = entry.candidates[name]
    gates = entry.gates.get(name)
    figures = {figure: float(value) for figure, value in known.measured.items() if figure != "size"}
    size = known.measured.get("size")
    judgement = None if gates is None else _judgement(name, gates, known.became)
    return CandidateRecord(name, known.became, known.because, None if size is None else int(size), figures, judgement)


def _judgement(name: str, gates: Mapping[str, LockedGate], became: str) -> Judgement:
    none = (None,) * 4
    results = tuple(
        GateResult(gate, one.verdict, one.value, *none, 0, None, None, "as locked", "lock")  # type: ignore[arg-type]
        for gate, one in gates.items()
    )
    return Judgement(name, "INCONCLUSIVE", became == "released", False, results)

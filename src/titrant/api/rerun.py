"""Run a recorded run again from its stored recipe alone, and say whether it came out the same.

Rerun from a lock: the run that it names, or, where that is not here or ran in another folder, the recipe beside it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.compare_rerun import Repeated, Rerun, compare_rerun
from titrant.api.lock import NOTHING, entry_here
from titrant.schema.compare.runs import RecordedRun
from titrant.schema.diagnostics.diagnostics import OK, Diagnostic, RecipeError
from titrant.schema.gate import GateResult, Judgement
from titrant.schema.lock import LockedGate, LockEntry, read_lock, recipe_path
from titrant.schema.plan import Decision, Plan
from titrant.schema.record import Artifact, CandidateRecord, RunRecord, StepRecord, StepResult
from titrant.schema.values.files import json_object

if TYPE_CHECKING:
    from titrant.runtime.worker.parent import Worker

FILE = "rerun.json"


def rerun(
    run: str | Path,
    *,
    exact: bool = False,
    redecide: bool = False,
    trust: bool = False,
    listen: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Rerun:
    """Repeat a run in a new folder: recorded decisions replayed, every step anew, nothing of the old run touched.

    `run` is a run's folder, id, unique prefix or "latest" (of those that came to their end; `listen` is told which one
    that is where a later one did not), or a lock file: the run that its entry for this machine names, or else the
    recipe beside it. With `redecide` the choices are made anew. `exact` makes an equivalent result
    exit 7 as well. `trust` lets the stored recipe run code from outside its folder. The comparison is written into the
    new run's folder. Raises RecipeError for a run that did not end, or a model or data that is gone, StepError when a
    step fails.
    """
    from titrant.api.run import run as execute
    from titrant.runtime.run.replay import JudgedThen, Replay, recorded_choices, recorded_search
    from titrant.runtime.store.home import open_home
    from titrant.runtime.worker.parent import Worker
    from titrant.schema.values import files

    fresh: list[str] = []

    def hear(event: Mapping[str, Any]) -> None:
        if "would_judge" in event:
            fresh.append(f"{event['search']}: judge {', '.join(event['would_judge'])}")
        listen(event)

    home = open_home()
    kept: list[Worker] = []  # of the planning: one process, with torch loaded once, repeats and compares as well
    try:
        what = _repeated(str(run), listen, redecide=redecide, trust=trust, keep_worker=kept)
        plan = what.planned.plan
        if not kept:
            kept.append(Worker(home, Path(what.planned.folder), plan.threads, plan.steps[0].seed))
        choices = {} if redecide else recorded_choices(plan, what.old.record)
        tried, left = (None, {}) if redecide else recorded_search(plan, what.old.record)
        old = what.old.record
        judging = JudgedThen() if redecide else JudgedThen(old.look, old.judged_on)
        replay = Replay(reuse=False, choices=choices, tried=tried, left=left, judging=judging)
        record = execute(what.planned, listen=hear, worker=kept[0], replay=replay)
        folder = home.runs / record.run
        compared = compare_rerun(what, folder, kept[0], exact=exact, would_now=(*what.otherwise, *fresh))
    finally:
        for worker in kept:
            worker.close()
    files.write_json(folder / FILE, compared)
    return compared


def _repeated(
    run: str,
    listen: Callable[[Mapping[str, Any]], None],
    *,
    redecide: bool,
    trust: bool,
    keep_worker: "list[Worker]",
) -> Repeated:
    from titrant.api.diff import kind_of, run_folder
    from titrant.api.replan import replan

    if kind_of(run) == "lock":
        return locked_run(Path(run), redecide=redecide, trust=trust, keep_worker=keep_worker)
    folder = run_folder(run, ended=True)
    if run == "latest" and (newest := run_folder(run)) != folder:
        text = f"{newest.name} did not come to its end: {folder.name} is the latest that did"
        listen({"event": "note", "text": text})
    return replan(folder, redecide=redecide, trust=trust, keep_worker=keep_worker)


def locked_run(path: Path, *, redecide: bool, trust: bool, keep_worker: "list[Worker]") -> Repeated:
    """Return what repeats a lock's entry for this class of hardware.

    Where its run was of another folder, as before a move or in another clone, the recipe beside the lock is run: its
    code is meant. Where that is no longer there, the first of the lock's runs that is in this home has it. Raises
    RecipeError P094 where there is neither, and StaleError P093 without an entry for this class. `keep_worker` receives
    the process that what is returned was planned with.
    """
    from titrant.api.plan import plan
    from titrant.api.replan import otherwise, replan
    from titrant.schema.language.parse import read

    recipe = recipe_path(path)
    if recipe.is_file():
        planned = plan(read(recipe), trust=trust, keep_worker=keep_worker)
        entry = entry_here(planned, path)
        folder = _folder(entry)
        if folder is None or not _ran_in(folder, recipe.parent):
            old = as_run(entry, planned.plan)
            return Repeated(old, planned, None, () if redecide else otherwise(old.plan, planned.plan))
        while keep_worker:
            keep_worker.pop().close()
        return replan(folder, redecide=redecide, trust=trust, keep_worker=keep_worker)
    lock = read_lock(path)
    folders = (_folder(entry) for entry in (lock.entries.values() if lock is not None else ()))
    named = next((folder for folder in folders if folder is not None), None)
    if named is None:
        message = f"neither {recipe} nor a run that {path.name} names is here"
        raise RecipeError(Diagnostic("P094", message, help="put the recipe beside its lock, or set TITRANT_HOME"))
    return replan(named, redecide=redecide, trust=trust, keep_worker=keep_worker)


def _folder(entry: LockEntry) -> Path | None:
    """Return the folder of the run that an entry was made from, where it is in this home and came to its end."""
    from titrant.runtime.store.home import home_folder

    folder = home_folder() / "runs" / entry.run
    return folder if (folder / "record.json").is_file() else None


def _ran_in(folder: Path, place: Path) -> bool:
    """Tell whether a run was of a recipe in a place, whose modules and files it read."""
    then = (json_object(folder / "environment.json") or {}).get("recipe_folder")
    return isinstance(then, str) and Path(then).resolve() == place.resolve()


def as_run(entry: LockEntry, plan: Plan) -> RecordedRun:
    """Return what a lock says as if it were a run's record, for a plan that is to repeat it."""
    machine = replace(
        plan.hardware,
        instructions=entry.hardware.instructions,
        packages={**plan.hardware.packages, **entry.hardware.packages},
    )
    chosen = {decision.subject: decision for decision in plan.decisions}
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
    released = tuple(search.released for search in entry.searches.values() if search.released != NOTHING)
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
        judged_on=entry.judged_on,
    )


def _outputs(digests: Mapping[str, str]) -> dict[str, Artifact]:
    return {port: Artifact("", digest, 0) for port, digest in digests.items()}


def _candidate(entry: LockEntry, name: str) -> CandidateRecord:
    locked = entry.candidates[name]
    gates = entry.gates.get(name)
    figures = {figure: float(value) for figure, value in locked.measured.items() if figure != "size"}
    size = locked.measured.get("size")
    judgement = None if gates is None else _judgement(name, gates, locked.became)
    size = None if size is None else int(size)
    return CandidateRecord(name, locked.became, locked.because, size, figures, judgement, left=locked.left)


def _judgement(name: str, gates: Mapping[str, LockedGate], became: str) -> Judgement:
    none = (None,) * 4
    results = tuple(
        GateResult(gate, result.verdict, result.value, *none, 0, None, None, "as locked", "lock")  # type: ignore[arg-type]
        for gate, result in gates.items()
    )
    return Judgement(name, "INCONCLUSIVE", became == "released", False, results)

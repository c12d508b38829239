"""Write a recipe's lock from a run, check a recipe against it, and hold a run to it."""

import contextlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from titrant.api.replan import decided
from titrant.runtime.backends.backend import added_packages, distribution
from titrant.schema.compare.difference import first_difference, tolerance_of
from titrant.schema.diagnostics.diagnostics import OK, Diagnostic, RecipeError, StaleError
from titrant.schema.facts import Gpu
from titrant.schema.language.parse import ParsedRecipe
from titrant.schema.lock import (
    Evaluation,
    HardwareClass,
    Lock,
    LockedCandidate,
    LockedGate,
    LockedSearch,
    LockedStep,
    LockEntry,
    lock_path,
    lock_text,
    names_run,
    read_lock,
    with_entry,
)
from titrant.schema.plan import GIVEN, Plan
from titrant.schema.planned import Planned
from titrant.schema.record import NOT_TRIED, CandidateRecord, RunRecord
from titrant.schema.values.files import home_path
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import without_places

if TYPE_CHECKING:
    from titrant.runtime.run.replay import Replay


@dataclass(frozen=True)
class Locked:
    """A recipe's lock, the entry for this class of hardware, and what changed in it: "" where it said so already."""

    file: Path
    entry: str
    change: str


def lock(recipe: ParsedRecipe, run: str | None = None, *, trust: bool = False) -> Locked:
    """Write a recipe's lock from a run of it that released a model: `run`, or the newest one of this home.

    The entry is for the machine that the run was on; entries for other classes of hardware stay. Raises RecipeError
    P094 without such a run, P091 for a lock that cannot be read, StepError X589 where the run was changed since.
    """
    from titrant.api.plan import plan

    planned = plan(recipe, trust=trust)
    made, record = _run_of(planned, run)
    return write(made, record, Path(recipe.file))


@dataclass(frozen=True)
class Unlocked:
    """Why no lock was written: "unchanged" where there is nothing to say, else what stood against it.

    "overrides": a run with --set is of another recipe; "installed": the recipe lies in an installed package; "folder":
    its folder cannot be written; "refused": the lock could not be written or read, as `problem` says.
    """

    because: Literal["unchanged", "overrides", "installed", "folder", "refused"]
    problem: str = ""


def update_lock(planned: Planned, record: RunRecord, recipe: Path) -> Locked | Unlocked:
    """Enter a run that just released a model in the lock beside its recipe.

    There is nothing to enter where the run was the lock's own, or is one with `--set` beside no lock.
    """
    path = lock_path(recipe)
    if record.executed == 0 and names_run(path, record.run):
        return Unlocked("unchanged")
    if planned.written.get("overrides"):
        return Unlocked("overrides" if path.exists() else "unchanged")
    folder = recipe.absolute().parent
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if any(folder.resolve().is_relative_to(place) for place in installed):
        return Unlocked("installed")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Unlocked("folder")
    try:
        return write(planned.plan, record, recipe)
    except RecipeError as error:
        return Unlocked("refused", "; ".join(diagnostic.message for diagnostic in error.diagnostics))


def write(plan: Plan, record: RunRecord, recipe: Path) -> Locked:
    """Enter a run in the lock beside its recipe; nothing is written where the entry says the same already.

    Of several runs that do so at one moment each finds what the others entered. Raises RecipeError P095 where the lock
    cannot be written, P091 for one that cannot be read.
    """
    path = lock_path(recipe)
    try:
        with exclusive(path):
            return _enter(plan, record, recipe, path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _enter(plan: Plan, record: RunRecord, recipe: Path, path: Path) -> Locked:
    from titrant.schema.compare.locks import first_difference
    from titrant.schema.values import files

    before = read_lock(path) or Lock(plan.name)
    entry = entry_of(plan, record, 1 if record.look is None else record.look.number)
    name = entry.hardware.name
    before_entry = before.entries.get(name)
    change = "a new entry" if before_entry is None else first_difference(before_entry, entry)
    if not change:
        return Locked(path, name, "")
    files.write_bytes(path, lock_text(with_entry(replace(before, name=plan.name), entry), recipe.name).encode())
    return Locked(path, name, change)


def _run_of(planned: Planned, name: str | None) -> tuple[Plan, RunRecord]:
    from titrant.api.diff import run_folder, run_of
    from titrant.api.runs import refuse_changed
    from titrant.runtime.store.home import home_folder, newest_first
    from titrant.runtime.store.run_folder import read_record

    digests = (planned.plan.recipe_digest, planned.plan.model_digest, planned.plan.data_digest)
    folders = [run_folder(name)] if name else newest_first(home_folder() / "runs", f"-{planned.plan.name}-")
    for folder in folders:
        released = (record := read_record(folder)) is not None and record.exit == OK
        if not released or (not name and (folder / "rerun.json").exists()):
            continue
        run = run_of(str(folder))
        of_recipe = (run.plan.recipe_digest, run.plan.model_digest, run.plan.data_digest) == digests
        # What was optimized elsewhere the recipe does not make.
        if of_recipe and not any(candidate.method == GIVEN for candidate in run.plan.candidates):
            refuse_changed(folder)
            return run.plan, run.record
    which = f"{name} is not a run" if name else "there is no run"
    message = f"{which} of {planned.recipe_file} as it is now that released a model"
    raise RecipeError(Diagnostic("P094", message, help=f"make one with: titrant run {planned.recipe_file}"))


def _unwritable(path: Path, error: OSError) -> RecipeError:
    from titrant.schema.values.text import os_reason

    message = f"{path} cannot be written: {os_reason(error)}"
    return RecipeError(Diagnostic("P095", message, help="make its folder writable"))


def check_lock(recipe: ParsedRecipe, *, trust: bool = False) -> str:
    """Check a recipe against its lock without running anything.

    Returns the class of hardware whose decisions could not be checked, for want of an entry, or "". Raises StaleError
    where the lock is missing, or recipe, model, data or a decision is not what it says: the first difference is named.
    On a class of hardware without an entry, recipe, model and data are checked against another.
    """
    from titrant.api.plan import plan

    planned = plan(recipe, trust=trust)
    path = lock_path(Path(recipe.file))
    lock = _read(path, recipe.file)
    name = hardware_class(planned.plan).name
    if name in lock.entries:
        refuse_if_stale(path, lock.entries[name], planned)
        return ""
    others = list(lock.entries.values())
    if not others:
        raise _no_entry(path, lock, planned.plan)
    same = next((other for other in others if other.recipe == planned.plan.recipe_digest), others[0])
    refuse_if_stale(path, same, planned, decisions=False)
    return name


def entry_here(planned: Planned, path: Path) -> LockEntry:
    """Return a lock's entry for the class of hardware that a plan is for; StaleError where it has none."""
    lock = _read(path, planned.recipe_file)
    entry = lock.entries.get(hardware_class(planned.plan).name)
    if entry is None:
        raise _no_entry(path, lock, planned.plan)
    return entry


def _read(path: Path, recipe: str) -> Lock:
    lock = read_lock(path)
    if lock is None:
        help_text = f"write it with: titrant run {recipe}, or from an earlier run: titrant lock {recipe}"
        raise StaleError(Diagnostic("P090", f"there is no lock {path}", help=help_text))
    return lock


def refuse_if_stale(path: Path, entry: LockEntry, planned: Planned, *, decisions: bool = True) -> None:
    """Raise StaleError, naming the first difference, where a plan differs from a lock's entry."""
    from titrant.schema.compare.locks import planned_difference

    plan = planned.plan
    now = decided(plan) if decisions else entry.decisions
    differs = planned_difference(entry, plan.recipe_digest, plan.model_digest, plan.data_digest, now)
    if differs:
        raise stale(path, differs if entry.recipe == plan.recipe_digest else _recipe_change(entry, planned) or differs)


def _recipe_change(entry: LockEntry, planned: Planned) -> str:
    """Name the first key of the recipe that changed, where the run that the lock was made from is in this home."""
    from titrant.api.diff import parsed
    from titrant.runtime.store.home import home_folder
    from titrant.schema.compare.plans import compare_recipes

    stored = home_folder() / "runs" / entry.run / "recipe.yaml"
    if not stored.is_file():
        return ""
    folder = Path(planned.folder)
    old = parsed(stored.read_text("utf-8"), str(stored), folder)
    new = parsed(planned.recipe_text, planned.recipe_file, folder)
    first = next(iter(compare_recipes(old, new)), None) if old is not None and new is not None else None
    return "" if first is None else f"the recipe changed: {first.path} was {first.old} and is {first.new}"


def stale(path: Path, differs: str) -> StaleError:
    """Make the error that something differs from a lock (P092)."""
    help_text = "run without --locked, and review what that changes in the lock"
    return StaleError(Diagnostic("P092", f"not as {path.name} says: {differs}", help=help_text))


def _no_entry(path: Path, lock: Lock, plan: Plan) -> StaleError:
    from titrant.schema.values.canonical import plain

    here = hardware_class(plan)
    alike = [other.hardware for other in lock.entries.values() if other.hardware.machine == here.machine]
    near = sorted(alike, key=lambda hardware: hardware.instructions != here.instructions)
    differs = f"; the nearest differs: {first_difference(plain(near[0]), plain(here))}" if near else ""
    message = f"{path.name} has no entry for this hardware class ({here.name}){differs}"
    return StaleError(Diagnostic("P093", message, help="run without --locked to add one"))


def hold(planned: Planned) -> "Replay":
    """Return how a locked run goes: the lock's choices replayed, and nothing released whose results differ.

    Raises StaleError where there is no lock or no entry for this class of hardware, or where the plan differs from it.
    """
    from titrant.runtime.run.replay import Replay

    path = lock_path(Path(planned.recipe_file))
    entry = entry_here(planned, path)
    refuse_if_stale(path, entry, planned)

    def accept(record: RunRecord) -> None:
        from titrant.schema.compare.locks import first_difference

        differs = first_difference(entry, entry_of(planned.plan, record, entry.evaluation.runs))
        if differs:
            raise stale(path, differs)

    tried, left = locked_search(entry, planned.plan)
    choices = {name: search.judged for name, search in entry.searches.items()}
    return Replay(choices=choices, tried=tried, left=left, accept=accept)


def locked_search(entry: LockEntry, plan: Plan) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return which candidates of an entry waited for others and were tried, and the layers that mixtures left alone."""
    waiting = {candidate.id for candidate in plan.candidates if candidate.waits_for}
    made = {name: each for name, each in entry.candidates.items() if name in waiting and each.became != NOT_TRIED}
    return tuple(made), {name: each.left for name, each in made.items() if each.left}


_SECONDS = 60.0


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a file's own lock, a hidden file beside it that goes away again; it ends with the process that holds it.

    Raises OSError where the folder cannot be written, and TimeoutError when another process holds it for a minute.
    """
    from filelock import FileLock

    place = path.with_name(f".{path.name[:100]}.lock")
    lock = FileLock(place)
    lock.acquire(timeout=_SECONDS)
    try:
        yield
    finally:
        # Removed while held: whoever waits for it finds it unlinked and looks again.
        place.unlink(missing_ok=True)
        lock.release()


NOTHING = "nothing"


def hardware_class(plan: Plan) -> HardwareClass:
    """Return the class of the machine that a plan is for, as far as the plan's operators can tell machines apart."""
    from titrant.runtime import catalog

    machine = plan.hardware
    working = [step for step in plan.steps if step.stage != "report"]
    libraries = {library for step in working for library in catalog.get(step.operator).libraries}
    libraries |= {*added_packages()}
    distributions = {name for library in libraries if (name := distribution(machine.packages, library)) is not None}
    return HardwareClass(
        system=machine.system,
        machine=machine.machine,
        python=".".join(machine.python.split(".")[:2]),
        instructions=machine.instructions,
        accelerators=tuple(_accelerator(gpu) for gpu in machine.gpus),
        packages={name: machine.packages[name] for name in sorted(distributions)},
    )


def _accelerator(gpu: Gpu) -> str:
    return " ".join(part for part in (gpu.kind, gpu.name, gpu.capability, gpu.driver) if part)


def entry_of(plan: Plan, record: RunRecord, looks: int) -> LockEntry:
    """Return the entry of a run; `looks` is the number of its look at the evaluation rows."""
    from titrant.runtime.rerun.check import asked_in_vain, exact_steps, results, untried
    from titrant.runtime.run.evaluation_looks import evaluation_digest
    from titrant.runtime.run.replay import recorded_choices
    from titrant.schema import __version__

    done = results(record)
    ignored, in_vain = untried(record), asked_in_vain(plan, record)
    exact = [
        step.id
        for step in exact_steps(plan, _claims)
        if step.id in done and step.candidate not in ignored and step.id not in in_vain
    ]
    released = set(record.released)
    placeless = partial(without_places, folders=machine_folders())
    return LockEntry(
        recipe=plan.recipe_digest,
        model=plan.model_digest,
        data=plan.data_digest,
        evaluation=Evaluation(evaluation_digest(step.result for step in done.values() if step.result), looks),
        run=record.run,
        titrant=record.environment.get("titrant", __version__),
        hardware=hardware_class(plan),
        decisions=decided(plan),
        searches={
            search: LockedSearch(judged, next((name for name in _of(plan, search) if name in released), NOTHING))
            for search, judged in recorded_choices(plan, record).items()
        },
        candidates={
            candidate.candidate: LockedCandidate(
                candidate.status, placeless(candidate.because), _measured(candidate), candidate.left
            )
            for candidate in record.candidates
        },
        gates={
            candidate.candidate: {
                result.gate: LockedGate(result.verdict, result.estimate, tolerance_of(result.gate).relative)
                for result in candidate.judgement.results
            }
            for candidate in record.candidates
            if candidate.judgement is not None
        },
        steps={name: LockedStep(done[name].key, _digests(done[name])) for name in exact},
        judged_on=record.judged_on,
    )


def machine_folders() -> tuple[str, ...]:
    """List the folders that name a machine or its user, where messages of libraries come from."""
    import sys
    import tempfile

    places = (home_path(), tempfile.gettempdir(), os.environ.get("HOME", ""), sys.prefix, sys.base_prefix)
    return tuple(str(place) for place in places)


def _claims(operator: str) -> str:
    """Lock the bytes of what claims to be exact only: another run may differ within a declared tolerance."""
    from titrant.runtime import catalog

    return "exact" if catalog.get(operator).determinism == "exact" else "measured"


def _measured(candidate: CandidateRecord) -> dict[str, float | int]:
    size: dict[str, float | int] = {} if candidate.size is None else {"size": candidate.size}
    return size | {name: candidate.figures[name] for name in sorted(candidate.figures)}


def _of(plan: Plan, search: str) -> tuple[str, ...]:
    return next(entry.candidates for entry in plan.searches if entry.name == search)


def _digests(step: Any) -> dict[str, str]:
    return {port: step.result.outputs[port].digest for port in sorted(step.result.outputs)}

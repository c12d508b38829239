"""Write a recipe's lock, check it, and hold a run to it."""

import os
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.planned import Planned
from titrant.schema.diagnostics import Diagnostic, RecipeError, StaleError
from titrant.schema.lock import Lock, LockEntry
from titrant.schema.plan import Plan
from titrant.schema.record import RunRecord
from titrant.schema.source import ParsedRecipe

if TYPE_CHECKING:
    from titrant.runtime.execution.rerun.replay import Replay


@dataclass(frozen=True)
class Locked:
    """A recipe's lock, the entry for this class of hardware, and what changed in it: "" where it stood already."""

    file: Path
    entry: str
    change: str


def lock(recipe: ParsedRecipe, run: str | None = None, *, trust: bool = False) -> Locked:
    """Write a recipe's lock from a run of it that released a model: `run`, or the newest one of this home.

    The entry is for the machine that the run was on; entries for other classes of hardware stay. Raises RecipeError
    P094 without such a run, P091 for a lock that cannot be read.
    """
    from titrant.verbs.plan import plan

    planned = plan(recipe, trust=trust)
    made, record = _run_of(planned, run)
    return write(made, record, Path(recipe.file))


def write(plan: Plan, record: RunRecord, recipe: Path) -> Locked:
    """Enter a run in the lock beside its recipe; nothing is written where the entry says the same already.

    Of several runs that do so at one moment each finds what the others entered. Raises RecipeError P095 where the lock
    cannot be written, P091 for one that cannot be read.
    """
    from titrant.schema.lock_text import lock_path
    from titrant.verbs.exclusive import exclusive

    path = lock_path(recipe)
    try:
        with exclusive(path):
            return _enter(plan, record, recipe, path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _enter(plan: Plan, record: RunRecord, recipe: Path, path: Path) -> Locked:
    from titrant.runtime.execution.home import open_home
    from titrant.runtime.execution.looks import looks_at
    from titrant.schema import atomic
    from titrant.schema.compare_locks import first_difference
    from titrant.schema.lock import with_entry
    from titrant.schema.lock_text import lock_text, read_lock
    from titrant.verbs.lock_entry import entry_of

    before = read_lock(path) or Lock(plan.name)
    entry = entry_of(plan, record, 1)
    name = entry.hardware.name
    known = before.entries.get(name)
    change = "a new entry" if known is None else first_difference(known, entry)
    if not change:
        return Locked(path, name, "")
    digest = entry.evaluation.digest
    earlier = max(
        (one.evaluation.runs for one in before.entries.values() if one.evaluation.digest == digest), default=0
    )
    count = max(earlier + _adds(known, entry), looks_at(open_home(), digest), 1)
    entry = replace(entry, evaluation=replace(entry.evaluation, runs=count))
    atomic.write_bytes(path, lock_text(with_entry(replace(before, name=plan.name), entry), recipe.name).encode())
    return Locked(path, name, change)


def _adds(known: LockEntry | None, entry: LockEntry) -> int:
    """Count a run as a new look unless it judged what the lock says already."""
    return int(known is None or known.steps != entry.steps or known.evaluation.digest != entry.evaluation.digest)


def why_unlocked(planned: Planned, recipe: Path) -> str:
    """Say why a run does not write a lock beside its recipe; "" where it does."""
    folder = recipe.absolute().parent
    if planned.written.get("overrides"):
        return "a run with --set is of another recipe"
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if any(folder.resolve().is_relative_to(place) for place in installed):
        return "the recipe lies in an installed package; copy it to own it: titrant recipes cp NAME FILE"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written"


def check_lock(recipe: ParsedRecipe, *, trust: bool = False) -> str:
    """Hold a recipe to its lock without running anything, and return what could not be checked here, or "".

    Raises StaleError where the lock is missing, or recipe, model, data or a decision is not what it says: the first
    difference is named. On a class of hardware that has no entry, recipe, model and data are held to another one's.
    """
    from titrant.verbs.lock_entry import hardware_class
    from titrant.verbs.plan import plan

    planned = plan(recipe, trust=trust)
    found, path = _read(Path(recipe.file))
    name = hardware_class(planned.plan).name
    if name in found.entries:
        _refuse(path, found.entries[name], planned)
        return ""
    others = list(found.entries.values())
    if not others:
        raise _no_entry(path, found, planned.plan)
    same = next((one for one in others if one.recipe == planned.plan.recipe_digest), others[0])
    _refuse(path, same, planned, decisions=False)
    return f"no entry for this hardware class ({name}): its decisions are not checked; run without --locked to add one"


def entry_here(planned: Planned, path: Path) -> LockEntry:
    """Return a lock's entry for the class of hardware that a plan is for; StaleError where it has none."""
    from titrant.schema.lock_text import read_lock
    from titrant.verbs.lock_entry import hardware_class

    found = read_lock(path)
    if found is None:
        raise _no_lock(path, planned.recipe_file)
    entry = found.entries.get(hardware_class(planned.plan).name)
    if entry is None:
        raise _no_entry(path, found, planned.plan)
    return entry


def hold(planned: Planned) -> "Replay":
    """Return how a locked run goes: the lock's choices replayed, and nothing released that came out otherwise."""
    from titrant.runtime.execution.rerun.replay import Replay
    from titrant.schema.lock_text import lock_path

    path = lock_path(Path(planned.recipe_file))
    entry = entry_here(planned, path)
    _refuse(path, entry, planned)

    def accept(record: RunRecord) -> None:
        from titrant.schema.compare_locks import first_difference
        from titrant.verbs.lock_entry import entry_of

        differs = first_difference(entry, entry_of(planned.plan, record, entry.evaluation.runs))
        if differs:
            raise _stale(path, differs)

    return Replay(choices={name: search.judged for name, search in entry.searches.items()}, accept=accept)


def _read(recipe: Path) -> tuple[Lock, Path]:
    from titrant.schema.lock_text import lock_path, read_lock

    path = lock_path(recipe)
    found = read_lock(path)
    if found is None:
        raise _no_lock(path, str(recipe))
    return found, path


def _no_lock(path: Path, recipe: str) -> StaleError:
    help_text = f"write it with: titrant run {recipe}, or from an earlier run: titrant lock {recipe}"
    return StaleError(Diagnostic("P090", f"there is no lock {path}", help=help_text))


def _refuse(path: Path, entry: LockEntry, planned: Planned, *, decisions: bool = True) -> None:
    from titrant.schema.compare_locks import planned_difference
    from titrant.verbs.replan import decided

    plan = planned.plan
    now = decided(plan) if decisions else entry.decisions
    differs = planned_difference(entry, plan.recipe_digest, plan.model_digest, plan.data_digest, now)
    if differs:
        raise _stale(path, differs if entry.recipe == plan.recipe_digest else _recipe_change(entry, planned) or differs)


def _recipe_change(entry: LockEntry, planned: Planned) -> str:
    """Name the first key of the recipe that changed, where the run that the lock was made from is in this home."""
    from titrant.compared import parsed
    from titrant.schema.compare_recipes import compare_recipes
    from titrant.verbs.facts import home_folder

    stored = home_folder() / "runs" / entry.run / "recipe.yaml"
    if not stored.is_file():
        return ""
    folder = Path(planned.folder)
    old = parsed(stored.read_text("utf-8"), str(stored), folder)
    new = parsed(planned.recipe_text, planned.recipe_file, folder)
    first = next(iter(compare_recipes(old, new)), None) if old is not None and new is not None else None
    return "" if first is None else f"the recipe changed: {first.path} was {first.old} and is {first.new}"


def _stale(path: Path, differs: str) -> StaleError:
    help_text = "run without --locked, and review what that changes in the lock"
    return StaleError(Diagnostic("P092", f"not as {path.name} says: {differs}", help=help_text))


def _no_entry(path: Path, found: Lock, plan: Plan) -> StaleError:
    from titrant.schema.canonical import plain
    from titrant.verbs.lock_entry import hardware_class
    from titrant.verbs.run import first_difference

    here = hardware_class(plan)
    near = [one.hardware for one in found.entries.values() if one.hardware.instructions == here.instructions]
    differs = f"; the nearest differs: {first_difference(plain(near[0]), plain(here))}" if near else ""
    message = f"{path.name} has no entry for this hardware class ({here.name}){differs}"
    return StaleError(Diagnostic("P093", message, help="run without --locked to add one"))


def _run_of(planned: Planned, name: str | None) -> tuple[Plan, RunRecord]:
    from titrant.compared import run_folder, run_of
    from titrant.runtime.execution.folder import read_record
    from titrant.verbs.facts import home_folder

    wanted = (planned.plan.recipe_digest, planned.plan.model_digest, planned.plan.data_digest)
    folders = (
        [run_folder(name)] if name else sorted((home_folder() / "runs").glob(f"*-{planned.plan.name}-*"), reverse=True)
    )
    for folder in folders:
        record = read_record(folder)
        if record is None or record.exit != 0 or (not name and (folder / "rerun.json").exists()):
            continue
        made = run_of(str(folder)).plan
        if (made.recipe_digest, made.model_digest, made.data_digest) == wanted:
            return made, record
    which = f"{name} is not a run" if name else "there is no run"
    message = f"{which} of {planned.recipe_file} as it is now that released a model"
    raise RecipeError(Diagnostic("P094", message, help=f"make one with: titrant run {planned.recipe_file}"))


def _unwritable(path: Path, error: OSError) -> RecipeError:
    from titrant.schema import atomic

    message = f"{path} cannot be written: {atomic.reason(error)}"
    return RecipeError(Diagnostic("P095", message, help="make its folder writable"))

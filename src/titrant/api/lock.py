"""Write a recipe's lock from a run.

Check a recipe against its lock without running anything.
Run a recipe exactly as its lock says, or release nothing.
Read a file and write it anew alone: of two who update it at one moment none undoes what the other wrote.
"""

import contextlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.api.planned import Planned
from titrant.schema.diagnostics.diagnostics import OK, Diagnostic, RecipeError, StaleError
from titrant.schema.language.parse import ParsedRecipe
from titrant.schema.lock import Lock, LockEntry
from titrant.schema.plan import Plan
from titrant.schema.record import RunRecord

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
    P094 without such a run, P091 for a lock that cannot be read.
    """
    from titrant.api.plan import plan

    planned = plan(recipe, trust=trust)
    made, record = _run_of(planned, run)
    return write(made, record, Path(recipe.file))


def update_lock(planned: Planned, record: RunRecord, recipe: Path) -> Locked | str:
    """Enter a run that just released a model in the lock beside its recipe; where none is written, return why.

    "" where there is nothing to say: the run was the lock's own, or is one with `--set` beside no lock.
    """
    from titrant.schema.lock import lock_path, names_run

    path = lock_path(recipe)
    if record.executed == 0 and names_run(path, record.run):
        return ""
    reason = why_unlocked(planned, recipe)
    if not reason:
        try:
            return write(planned.plan, record, recipe)
        except RecipeError as error:
            return "; ".join(found.message for found in error.diagnostics)
    return "" if planned.written.get("overrides") and not path.exists() else reason


def write(plan: Plan, record: RunRecord, recipe: Path) -> Locked:
    """Enter a run in the lock beside its recipe; nothing is written where the entry says the same already.

    Of several runs that do so at one moment each finds what the others entered. Raises RecipeError P095 where the lock
    cannot be written, P091 for one that cannot be read.
    """
    from titrant.schema.lock import lock_path

    path = lock_path(recipe)
    try:
        with exclusive(path):
            return _enter(plan, record, recipe, path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _enter(plan: Plan, record: RunRecord, recipe: Path, path: Path) -> Locked:
    from titrant.api.lock_entry import entry_of
    from titrant.runtime.run.evaluation_looks import looks_at
    from titrant.runtime.store.home import open_home
    from titrant.schema.compare.locks import first_difference
    from titrant.schema.lock import lock_text, read_lock, with_entry
    from titrant.schema.values import files

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
    files.write_bytes(path, lock_text(with_entry(replace(before, name=plan.name), entry), recipe.name).encode())
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


def _run_of(planned: Planned, name: str | None) -> tuple[Plan, RunRecord]:
    from titrant.api.diff import run_folder, run_of
    from titrant.runtime.store.home import home_folder, newest_first
    from titrant.runtime.store.run_folder import read_record

    wanted = (planned.plan.recipe_digest, planned.plan.model_digest, planned.plan.data_digest)
    folders = [run_folder(name)] if name else newest_first(home_folder() / "runs", f"-{planned.plan.name}-")
    for folder in folders:
        released = (one := read_record(folder)) is not None and one.exit == OK
        if not released or (not name and (folder / "rerun.json").exists()):
            continue
        found = run_of(str(folder))
        if (found.plan.recipe_digest, found.plan.model_digest, found.plan.data_digest) == wanted:
            return found.plan, found.record
    which = f"{name} is not a run" if name else "there is no run"
    message = f"{which} of {planned.recipe_file} as it is now that released a model"
    raise RecipeError(Diagnostic("P094", message, help=f"make one with: titrant run {planned.recipe_file}"))


def _unwritable(path: Path, error: OSError) -> RecipeError:
    from titrant.schema.values.text import os_reason

    message = f"{path} cannot be written: {os_reason(error)}"
    return RecipeError(Diagnostic("P095", message, help="make its folder writable"))


def check_lock(recipe: ParsedRecipe, *, trust: bool = False) -> str:
    """Check a recipe against its lock without running anything; return what could not be checked here, or "".

    Raises StaleError where the lock is missing, or recipe, model, data or a decision is not what it says: the first
    difference is named. On a class of hardware without an entry, recipe, model and data are checked against another.
    """
    from titrant.api.lock_entry import hardware_class
    from titrant.api.plan import plan
    from titrant.schema.lock import lock_path

    planned = plan(recipe, trust=trust)
    path = lock_path(Path(recipe.file))
    found = _read(path, recipe.file)
    name = hardware_class(planned.plan).name
    if name in found.entries:
        refuse_if_stale(path, found.entries[name], planned)
        return ""
    others = list(found.entries.values())
    if not others:
        raise _no_entry(path, found, planned.plan)
    same = next((one for one in others if one.recipe == planned.plan.recipe_digest), others[0])
    refuse_if_stale(path, same, planned, decisions=False)
    return f"no entry for this hardware class ({name}): its decisions are not checked; run without --locked to add one"


def entry_here(planned: Planned, path: Path) -> LockEntry:
    """Return a lock's entry for the class of hardware that a plan is for; StaleError where it has none."""
    from titrant.api.lock_entry import hardware_class

    found = _read(path, planned.recipe_file)
    entry = found.entries.get(hardware_class(planned.plan).name)
    if entry is None:
        raise _no_entry(path, found, planned.plan)
    return entry


def _read(path: Path, recipe: str) -> Lock:
    from titrant.schema.lock import read_lock

    found = read_lock(path)
    if found is None:
        help_text = f"write it with: titrant run {recipe}, or from an earlier run: titrant lock {recipe}"
        raise StaleError(Diagnostic("P090", f"there is no lock {path}", help=help_text))
    return found


def refuse_if_stale(path: Path, entry: LockEntry, planned: Planned, *, decisions: bool = True) -> None:
    """Raise StaleError, naming the first difference, where a plan differs from a lock's entry."""
    from titrant.api.replan import decided
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


def _no_entry(path: Path, found: Lock, plan: Plan) -> StaleError:
    from titrant.api.lock_entry import hardware_class
    from titrant.schema.compare.difference import first_difference
    from titrant.schema.values.canonical import plain

    here = hardware_class(plan)
    alike = [one.hardware for one in found.entries.values() if one.hardware.machine == here.machine]
    near = sorted(alike, key=lambda one: one.instructions != here.instructions)
    differs = f"; the nearest differs: {first_difference(plain(near[0]), plain(here))}" if near else ""
    message = f"{path.name} has no entry for this hardware class ({here.name}){differs}"
    return StaleError(Diagnostic("P093", message, help="run without --locked to add one"))


def hold(planned: Planned) -> "Replay":
    """Return how a locked run goes: the lock's choices replayed, and nothing released whose results differ.

    Raises StaleError where there is no lock or no entry for this class of hardware, or where the plan differs from it.
    """
    from titrant.runtime.run.replay import Replay
    from titrant.schema.lock import lock_path

    path = lock_path(Path(planned.recipe_file))
    entry = entry_here(planned, path)
    refuse_if_stale(path, entry, planned)

    def accept(record: RunRecord) -> None:
        from titrant.api.lock_entry import entry_of
        from titrant.schema.compare.locks import first_difference

        differs = first_difference(entry, entry_of(planned.plan, record, entry.evaluation.runs))
        if differs:
            raise stale(path, differs)

    return Replay(choices={name: search.judged for name, search in entry.searches.items()}, accept=accept)


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

"""Write a recipe's lock from a run."""

import os
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path

from titrant.planned import Planned
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.exit_codes import OK
from titrant.schema.lock import Lock, LockEntry
from titrant.schema.plan import Plan
from titrant.schema.record import RunRecord
from titrant.schema.source import ParsedRecipe


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
    from titrant.verbs.plan import plan

    planned = plan(recipe, trust=trust)
    made, record = _run_of(planned, run)
    return write(made, record, Path(recipe.file))


def update_lock(planned: Planned, record: RunRecord, recipe: Path) -> Locked | str:
    """Enter a run that just released a model in the lock beside its recipe; where none is written, return why.

    "" where there is nothing to say: the run was the lock's own, or is one with `--set` beside no lock.
    """
    from titrant.schema.lock_text import lock_path, names_run

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


def _run_of(planned: Planned, name: str | None) -> tuple[Plan, RunRecord]:
    from titrant.runtime.execution.folder import read_record
    from titrant.runtime.execution.run_order import newest_first
    from titrant.verbs.compared import run_folder, run_of
    from titrant.verbs.facts import home_folder

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
    from titrant.schema.os_reason import os_reason

    message = f"{path} cannot be written: {os_reason(error)}"
    return RecipeError(Diagnostic("P095", message, help="make its folder writable"))

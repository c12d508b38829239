"""Check a recipe against its lock without running anything."""

from pathlib import Path

from titrant.planned import Planned
from titrant.schema.diagnostics import Diagnostic, StaleError
from titrant.schema.lock import Lock, LockEntry
from titrant.schema.plan import Plan
from titrant.schema.source import ParsedRecipe


def check_lock(recipe: ParsedRecipe, *, trust: bool = False) -> str:
    """Check a recipe against its lock without running anything; return what could not be checked here, or "".

    Raises StaleError where the lock is missing, or recipe, model, data or a decision is not what it says: the first
    difference is named. On a class of hardware without an entry, recipe, model and data are checked against another.
    """
    from titrant.schema.lock_text import lock_path
    from titrant.verbs.lock_entry import hardware_class
    from titrant.verbs.plan import plan

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
    from titrant.verbs.lock_entry import hardware_class

    found = _read(path, planned.recipe_file)
    entry = found.entries.get(hardware_class(planned.plan).name)
    if entry is None:
        raise _no_entry(path, found, planned.plan)
    return entry


def _read(path: Path, recipe: str) -> Lock:
    from titrant.schema.lock_text import read_lock

    found = read_lock(path)
    if found is None:
        help_text = f"write it with: titrant run {recipe}, or from an earlier run: titrant lock {recipe}"
        raise StaleError(Diagnostic("P090", f"there is no lock {path}", help=help_text))
    return found


def refuse_if_stale(path: Path, entry: LockEntry, planned: Planned, *, decisions: bool = True) -> None:
    """Raise StaleError, naming the first difference, where a plan differs from a lock's entry."""
    from titrant.schema.compare_locks import planned_difference
    from titrant.verbs.replan import decided

    plan = planned.plan
    now = decided(plan) if decisions else entry.decisions
    differs = planned_difference(entry, plan.recipe_digest, plan.model_digest, plan.data_digest, now)
    if differs:
        raise stale(path, differs if entry.recipe == plan.recipe_digest else _recipe_change(entry, planned) or differs)


def _recipe_change(entry: LockEntry, planned: Planned) -> str:
    """Name the first key of the recipe that changed, where the run that the lock was made from is in this home."""
    from titrant.schema.compare_recipes import compare_recipes
    from titrant.verbs.compared import parsed
    from titrant.verbs.facts import home_folder

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
    from titrant.schema.canonical import plain
    from titrant.schema.difference import first_difference
    from titrant.verbs.lock_entry import hardware_class

    here = hardware_class(plan)
    alike = [one.hardware for one in found.entries.values() if one.hardware.machine == here.machine]
    near = sorted(alike, key=lambda one: one.instructions != here.instructions)
    differs = f"; the nearest differs: {first_difference(plain(near[0]), plain(here))}" if near else ""
    message = f"{path.name} has no entry for this hardware class ({here.name}){differs}"
    return StaleError(Diagnostic("P093", message, help="run without --locked to add one"))

"""`titrant lock`: write a recipe's lock from a run, or check it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from titrant import console
from titrant.commands.codes import OK
from titrant.commands.options import read_recipe, recipe_options, refuse_set

if TYPE_CHECKING:
    from titrant.planned import Planned
    from titrant.schema.record import RunRecord
    from titrant.verbs.lock import Locked


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipe", type=Path, metavar="RECIPE")
    parser.add_argument("run", nargs="?", metavar="RUN", help="the run to lock; default: the newest that released")
    parser.add_argument("--check", action="store_true", help="only check it: exit 6 with the first difference")


def call(options: argparse.Namespace) -> int:
    """Write or check a recipe's lock."""
    from titrant.schema.diagnostics import Diagnostic, RecipeError
    from titrant.schema.lock_text import lock_path
    from titrant.verbs.lock import check_lock
    from titrant.verbs.lock import lock as verb

    refuse_set(options, "a lock")
    recipe = read_recipe(options)
    if not options.check:
        console.answer(lock_line(verb(recipe, options.run, trust=options.trust)))
        return OK
    if options.run:
        raise RecipeError(
            Diagnostic("P096", "--check compares with the recipe, not with a run", help="leave out RUN, or --check")
        )
    unchecked = check_lock(recipe, trust=options.trust)
    console.answer(f"{lock_path(options.recipe)}: up to date")
    if unchecked:
        console.note(unchecked)
    return OK


def update_lock(planned: "Planned", record: "RunRecord", recipe: Path) -> None:
    """Enter a successful run in the lock beside its recipe; one line where that changed it, or cannot be."""
    from titrant.schema.diagnostics import RecipeError
    from titrant.schema.lock_text import lock_path
    from titrant.verbs.lock import why_unlocked, write

    if record.executed == 0 and _names(lock_path(recipe), record.run):
        return
    reason = why_unlocked(planned, recipe)
    if not reason:
        try:
            locked = write(planned.plan, record, recipe)
        except RecipeError as error:
            reason = "; ".join(found.message for found in error.diagnostics)
        else:
            if locked.change:
                console.note(lock_line(locked))
    if reason and (not planned.written.get("overrides") or lock_path(recipe).exists()):
        console.note(f"no lock was written: {reason}")


def _names(lock: Path, run: str) -> bool:
    """Tell whether a lock's entry was made from a run: then nothing can have changed, and the lock is not parsed."""
    try:
        return f"    run: {run}\n" in lock.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def lock_line(locked: "Locked") -> str:
    """Say in one line what became of a lock."""
    if not locked.change:
        return f"lock: {locked.file} stands as it is"
    return f"lock: {locked.file} written, {locked.entry}: {locked.change}"

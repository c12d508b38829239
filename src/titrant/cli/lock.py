"""`titrant lock`: write a recipe's lock from a run, or check it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.cli.options import json_option, read_recipe, recipe_options, refuse_set
from titrant.schema.diagnostics.diagnostics import OK, Diagnostic, RecipeError

if TYPE_CHECKING:
    from titrant.api.lock import Locked


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipe", type=Path, metavar="RECIPE")
    parser.add_argument("run", nargs="?", metavar="RUN", help="the run to lock; default: the newest that released")
    parser.add_argument("--check", action="store_true", help="only check it: exit 6 with the first difference")
    json_option(parser, "what was written, or what was checked")


def call(options: argparse.Namespace) -> int:
    """Write or check a recipe's lock."""
    from titrant.api.lock import check_lock
    from titrant.api.lock import lock as verb
    from titrant.schema.lock import lock_path

    refuse_set(options, "a lock")
    recipe = read_recipe(options)
    if not options.check:
        locked = verb(recipe, options.run, trust=options.trust)
        if options.json:
            console.answer_json({"file": str(locked.file), "entry": locked.entry, "change": locked.change})
        else:
            console.answer(lock_line(locked))
        return OK
    if options.run:
        raise RecipeError(
            Diagnostic("P096", "--check compares with the recipe, not with a run", help="leave out RUN, or --check")
        )
    unchecked = _unchecked_text(check_lock(recipe, trust=options.trust))
    if options.json:
        console.answer_json({"file": str(lock_path(options.recipe)), "holds": True, "unchecked": unchecked})
        return OK
    console.answer(f"{lock_path(options.recipe)}: up to date")
    if unchecked:
        console.note(unchecked)
    return OK


def _unchecked_text(hardware_class: str) -> str:
    if not hardware_class:
        return ""
    return (
        f"no entry for this hardware class ({hardware_class}): its decisions are not checked; "
        "run without --locked to add one"
    )


def lock_line(locked: "Locked") -> str:
    """Say in one line what became of a lock."""
    if not locked.change:
        return f"lock: {locked.file} stands as it is"
    return f"lock: {locked.file} written, {locked.entry}: {locked.change}"

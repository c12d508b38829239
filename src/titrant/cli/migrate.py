"""`titrant migrate`: rewrite recipes of older versions of the language."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.schema.diagnostics.diagnostics import OK, OUT_OF_DATE, Diagnostic, RecipeError, TitrantError

if TYPE_CHECKING:
    from titrant.schema.language.migrate import Migration


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("recipes", nargs="+", type=Path, metavar="RECIPE")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 6, naming them, when recipes would change"
    )


def call(options: argparse.Namespace) -> int:
    """Migrate recipes, each by itself; exit 2 if any cannot be, 6 if --check finds one out of date."""
    from titrant.api.migrate import migrate as verb

    wrong: list[Diagnostic] = []
    changed = 0
    for recipe in options.recipes:
        try:
            migration = verb(recipe, check=options.check)
        except TitrantError as error:
            wrong += error.diagnostics
            continue
        changed += bool(migration.changes)
        if migration.changes or not options.quiet:
            console.answer(_text(recipe, migration, check=options.check))
    if wrong:
        raise RecipeError(*wrong)
    return OUT_OF_DATE if options.check and changed else OK


def _text(recipe: Path, migration: "Migration", *, check: bool) -> str:
    from titrant.schema.diagnostics.render import visible

    name = visible(str(recipe))
    if not migration.changes:
        return f"{name}: up to date"
    verdict = "out of date; `titrant migrate` would change" if check else "rewritten"
    return "\n".join([f"{name}: {verdict}", *(f"  {change}" for change in migration.changes)])

"""`titrant status`: what would run now, and why."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.cli.console import table
from titrant.cli.options import json_option, recipe_options
from titrant.schema.diagnostics.diagnostics import OK, TitrantError
from titrant.schema.values.units import counted

if TYPE_CHECKING:
    from titrant.api.status import Status


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipes", nargs="*", type=Path, metavar="RECIPE", help="default: every recipe that ran here")
    json_option(parser, "each recipe's steps, with symbol and reason")


def call(options: argparse.Namespace) -> int:
    """Say what would run now, and why.

    Of several recipes one that cannot be planned is named, and the others are answered; the first such gives the exit
    code.
    """
    from titrant.api.status import Seen, recipes_seen

    seen = Seen(tuple(options.recipes)) if options.recipes else recipes_seen()
    for run in seen.damaged:
        console.note(f"left out: {run.message}")
    if not seen.recipes and not options.json:
        console.answer("no recipe ran here yet; run one with: titrant run RECIPE")
    code, values = OK, []
    for recipe in seen.recipes:
        try:
            values.append(_answer(recipe, options))
        except TitrantError as error:
            if len(seen.recipes) == 1:
                raise
            code = code or error.exit_code
            values.append(_no_answer(recipe, error, as_json=options.json))
    if options.json:
        console.answer_json({"recipes": values})
    return code


def _answer(recipe: Path, options: argparse.Namespace) -> dict[str, object]:
    """Give what would run as JSON; print it, where that is not asked for."""
    from titrant.api.status import status as verb

    answer = verb(recipe, overrides=options.overrides, trust=options.trust)
    if not options.json:
        console.answer(f"{recipe}: {summary(answer)}")
        rows = [
            (seen.symbol, step, seen.because)
            for step, seen in answer.steps.items()
            if seen.symbol in "+~!" or options.verbose
        ]
        if rows:
            console.answer(table(rows))
    return {
        "recipe": str(recipe), "up_to_date": answer.up_to_date, "summary": summary(answer),
        "forecast": {step: [seen.symbol, seen.because] for step, seen in answer.steps.items()},
    }  # fmt: skip


def summary(status: "Status") -> str:
    """Say in one line what running a recipe would do."""
    if status.up_to_date:
        return "up to date"
    ends = {"+": "to run", "~": "to run again because something changed", "!": "that cannot run here"}
    parts = [f"{counted(status.count(symbol), 'step')} {end}" for symbol, end in ends.items() if status.count(symbol)]
    return ", ".join([*parts, f"{status.count('=')} reused"])


def _no_answer(recipe: Path, error: TitrantError, *, as_json: bool) -> dict[str, object]:
    """Give why a recipe cannot be planned as JSON; print it, where that is not asked for."""
    from titrant.schema.diagnostics.render import as_json as to_json

    if not as_json:
        console.note(f"{recipe} cannot be planned:")
        console.diagnostics(error.diagnostics)
    return {"recipe": str(recipe), "errors": [to_json(diagnostic) for diagnostic in error.diagnostics]}

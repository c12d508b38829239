"""`titrant status`: what would run now, and why."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from titrant import console
from titrant.commands.options import json_option, recipe_options
from titrant.layout import table
from titrant.schema.exit_codes import OK

if TYPE_CHECKING:
    from titrant.verbs.status import Status


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipes", nargs="*", type=Path, metavar="RECIPE", help="default: every recipe that ran here")
    json_option(parser, "each recipe's steps, with symbol and reason")


def call(options: argparse.Namespace) -> int:
    """Say what would run now, and why."""
    from titrant.verbs.status import Seen, recipes_seen
    from titrant.verbs.status import status as verb

    seen = Seen(tuple(options.recipes)) if options.recipes else recipes_seen()
    for run in seen.damaged:
        console.note(f"left out: {run.message}")
    answers = ((recipe, verb(recipe, overrides=options.overrides, trust=options.trust)) for recipe in seen.recipes)
    if options.json:
        console.answer_json({"recipes": [_value(recipe, answer) for recipe, answer in answers]})
        return OK
    if not seen.recipes:
        console.answer("no recipe ran here yet; run one with: titrant run RECIPE")
    for recipe, answer in answers:
        console.answer(f"{recipe}: {answer.summary}")
        rows = [
            (symbol, step, because)
            for step, (symbol, because) in answer.steps.items()
            if symbol in "+~!" or options.verbose
        ]
        if rows:
            console.answer(table(rows))
    return OK


def _value(recipe: Path, answer: "Status") -> dict[str, object]:
    from titrant.verbs.run import is_up_to_date

    forecast = {step: list(said) for step, said in answer.steps.items()}
    return {
        "recipe": str(recipe), "up_to_date": is_up_to_date(answer.steps), "summary": answer.summary,
        "forecast": forecast,
    }  # fmt: skip

"""`titrant status`: what would run now, and why."""

import argparse
from pathlib import Path

from titrant import console
from titrant.commands.codes import OK
from titrant.commands.options import recipe_options


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipes", nargs="*", type=Path, metavar="RECIPE", help="default: every recipe that ran here")


def call(options: argparse.Namespace) -> int:
    """Say what would run now, and why."""
    from titrant.verbs.status import recipes_seen
    from titrant.verbs.status import status as verb

    for recipe in options.recipes or recipes_seen():
        answer = verb(recipe, overrides=options.overrides, trust=options.trust)
        console.answer(f"{recipe}: {answer.summary}")
        rows = [
            (symbol, step, because)
            for step, (symbol, because) in answer.steps.items()
            if symbol in "+~!" or options.verbose
        ]
        if rows:
            console.answer(console.table(rows))
    return OK

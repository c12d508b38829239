"""`titrant doctor`: is this environment able to do the work, and what to install."""

import argparse
from pathlib import Path

from titrant import console
from titrant.commands.options import json_option, read_recipe, recipe_options, refuse_set
from titrant.schema.exit_codes import INFEASIBLE, OK


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipe", nargs="?", type=Path, metavar="RECIPE", help="look at what this recipe needs, too")
    json_option(parser, "what was found")


def call(options: argparse.Namespace) -> int:
    """Print what was found; 3 when anything lacks that the work needs."""
    from titrant.doctor_text import doctor_text
    from titrant.verbs.doctor import doctor

    if options.recipe is None:
        refuse_set(options, "this machine alone", trust_too=True)
    checkup = doctor(read_recipe(options) if options.recipe else None, trust=options.trust)
    if options.json:
        console.answer_json(checkup)
    else:
        console.answer(doctor_text(checkup))
    return OK if checkup.able else INFEASIBLE

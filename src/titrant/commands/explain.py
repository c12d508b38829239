"""`titrant explain`: a code, a value of a recipe, a step of a run."""

import argparse

from titrant import console
from titrant.commands.options import recipe_options, refuse_set
from titrant.schema.exit_codes import OK


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("subject", metavar="RECIPE|RUN|CODE")
    parser.add_argument(
        "item", nargs="?", metavar="PATH|STEP", help="a recipe path such as quantization.method, or a step"
    )


def call(options: argparse.Namespace) -> int:
    """Explain a diagnostic code, a value of a recipe, or a step of a run."""
    from titrant.verbs.explain import explain as verb
    from titrant.verbs.explain import is_recipe

    if not is_recipe(options.subject):
        refuse_set(options, f"'{options.subject}'", trust_too=True)
    console.answer(verb(options.subject, options.item, overrides=options.overrides, trust=options.trust))
    return OK

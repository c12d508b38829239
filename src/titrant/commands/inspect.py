"""`titrant inspect`: what a model is made of, and whether a level suits it."""

import argparse

from titrant import console
from titrant.commands.options import json_option, recipe_options
from titrant.schema.exit_codes import INFEASIBLE, OK


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    from titrant.verbs.inspect import LEVELS

    recipe_options(parser)
    parser.add_argument("model", metavar="MODEL|RECIPE", help="a recipe, an .onnx or .safetensors file, module:Name")
    parser.add_argument("--level", choices=LEVELS, help="say whether this level suits; exit 3 when it cannot be met")
    parser.add_argument("--args", metavar="JSON", help="arguments of a factory")
    parser.add_argument("--inputs", metavar="JSON", help="a factory's inputs: a list of {name, shape, dtype}")
    json_option(parser, "everything")


def call(options: argparse.Namespace) -> int:
    """Inspect a model; exit 3 when no method can meet the level here."""
    from titrant.verbs.inspect import inspect as verb
    from titrant.verbs.inspect import parse_json

    found = verb(
        options.model,
        level=options.level,
        args=parse_json(options.args, "--args", dict),
        inputs=parse_json(options.inputs, "--inputs", list),
        overrides=options.overrides,
        trust=options.trust,
    )
    if options.json:
        console.answer_json(found)
    else:
        from titrant.inspect_text import inspect_text

        console.answer(inspect_text(found, whole=bool(options.verbose)))
    return OK if found.suitability is None or found.suitability.suits else INFEASIBLE

"""`titrant check`: parse and bind recipes."""

import argparse
from pathlib import Path

from titrant.cli import console
from titrant.cli.options import json_option, recipe_options
from titrant.schema.diagnostics.diagnostics import INVALID, OK


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipes", nargs="+", type=Path, metavar="RECIPE")
    json_option(parser, "the findings, for editors and CI")


def call(options: argparse.Namespace) -> int:
    """Check recipes; exit 2 if any has an error."""
    from titrant.api.check import check as verb
    from titrant.schema.diagnostics.render import visible

    by_recipe = {recipe: verb(recipe, overrides=options.overrides, trust=options.trust) for recipe in options.recipes}
    findings = [diagnostic for diagnostics in by_recipe.values() for diagnostic in diagnostics]
    wrong = {recipe for recipe, diagnostics in by_recipe.items() if any(d.severity == "error" for d in diagnostics)}
    if options.json:
        console.diagnostics(findings, as_json=True)
    else:
        if findings:
            console.diagnostics(findings)
        if not options.quiet:
            for recipe in options.recipes:
                console.answer(f"{visible(str(recipe))}: {_verdict(recipe in wrong, len(by_recipe[recipe]))}")
    return INVALID if wrong else OK


def _verdict(wrong: bool, findings: int) -> str:
    if wrong:
        return f"{findings} finding" + ("s" if findings > 1 else "")
    return "ok" if not findings else "ok, with warnings"

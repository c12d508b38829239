"""`titrant plan`: show or save the plan of a recipe."""

import argparse
from pathlib import Path

from titrant import console
from titrant.commands.codes import OK, OUT_OF_DATE
from titrant.commands.options import read_recipe, recipe_options
from titrant.commands.planning import text_of


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipe", type=Path, metavar="RECIPE")
    parser.add_argument(
        "--hardware", type=Path, metavar="FILE", help="plan for a machine saved by `titrant hardware --save`"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="save the plan (.json) for `titrant run FILE`")
    parser.add_argument("--json", action="store_true", help="the plan as JSON")
    parser.add_argument("--exit-code", action="store_true", help="exit 6 when something would run")


def call(options: argparse.Namespace) -> int:
    """Show or save the plan of a recipe."""
    from titrant.planned import save
    from titrant.verbs.hardware import load_hardware
    from titrant.verbs.plan import plan as verb
    from titrant.verbs.plan import symbols

    hardware = load_hardware(options.hardware) if options.hardware else None
    planned = verb(read_recipe(options), hardware=hardware, trust=options.trust)
    forecast = symbols(planned)
    if options.json:
        console.answer_json(
            {"plan": planned.plan, "digest": planned.digest, "forecast": {k: list(v) for k, v in forecast.items()}}
        )
    else:
        console.answer(text_of(planned, forecast, options))
    if options.out:
        save(planned, options.out)
        if not options.quiet:
            console.note(f"saved {options.out}; run it with: titrant run {options.out}")
    would_run = any(symbol in "+~" for symbol, _ in forecast.values())
    return OUT_OF_DATE if options.exit_code and would_run else OK

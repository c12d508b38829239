"""`titrant plan`: show or save the plan of a recipe."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from titrant import console
from titrant.commands.options import json_option, read_recipe, recipe_options
from titrant.commands.planning import text_of
from titrant.schema.exit_codes import OK, OUT_OF_DATE

if TYPE_CHECKING:
    from titrant.compiler.passes import Change
    from titrant.plan_rows import Forecast
    from titrant.planned import Planned


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipe", type=Path, metavar="RECIPE")
    parser.add_argument(
        "--hardware", metavar="PROFILE", help="plan for another machine: a shipped profile or a saved file"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="save the plan (.json) for `titrant run FILE`")
    shape = parser.add_mutually_exclusive_group()
    json_option(shape, "the plan")
    shape.add_argument("--md", action="store_true", help="the plan as Markdown, for a pull request")
    shape.add_argument("--trace", action="store_true", help="what each pass over the plan changed, after the plan")
    parser.add_argument("--exit-code", action="store_true", help="exit 6 when something would run")


def call(options: argparse.Namespace) -> int:
    """Show or save the plan of a recipe."""
    from titrant.planned import save
    from titrant.verbs.hardware import find_hardware
    from titrant.verbs.plan import plan as verb
    from titrant.verbs.run import is_up_to_date

    hardware = find_hardware(options.hardware) if options.hardware else None
    changes: list[Change] = []
    planned = verb(read_recipe(options), hardware=hardware, trust=options.trust, trace=changes.append)
    forecast = _forecast(planned)
    if options.json:
        # Sorted, so that the same plan gives the same text.
        console.answer_json(_value(planned, forecast), sort=True)
    elif options.md:
        console.answer(_markdown(planned, forecast))
    else:
        console.answer(text_of(planned, forecast, options))
    if options.trace:
        from titrant.trace_text import trace_text

        console.answer(f"\n{trace_text(tuple(changes))}")
    if options.out:
        save(planned, options.out)
        if not options.quiet:
            console.note(f"saved {options.out}; run it with: titrant run {options.out}")
    return OUT_OF_DATE if options.exit_code and not is_up_to_date(forecast) else OK


def _forecast(planned: "Planned") -> "Forecast":
    """Say what each step would do; of a plan for another machine also which could not run on this one."""
    from titrant.verbs.plan import symbols

    forecast = symbols(planned)
    if planned.hardware.source != "detected":
        from titrant.compiler.hardware import detect
        from titrant.verbs.cannot_run import cannot_run_here
        from titrant.verbs.facts import home_folder

        lacking = cannot_run_here(planned, detect(home_folder()))
        forecast |= {step: ("!", lack) for step, lack in lacking.items()}
    return forecast


def _value(planned: "Planned", forecast: "Forecast") -> dict[str, object]:
    return {
        "plan": planned.plan,
        "digest": planned.digest,
        "planned_for": {"here": planned.hardware.source == "detected", "source": planned.hardware.source},
        "forecast": {step: list(said) for step, said in forecast.items()},
        "coverage": planned.coverage,
    }


def _markdown(planned: "Planned", forecast: "Forecast") -> str:
    from titrant.hardware_text import elsewhere_text
    from titrant.plan_markdown import plan_markdown
    from titrant.verbs.facts import home_folder
    from titrant.verbs.gone_steps import no_longer_planned

    gone = no_longer_planned(planned, home_folder())
    elsewhere = elsewhere_text(planned.hardware)
    return plan_markdown(planned.plan, forecast, coverage=planned.coverage, gone=gone, elsewhere=elsewhere)

"""What `plan` and `run` print of a plan before anything happens."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from titrant.planned import Planned


def text_of(planned: "Planned", forecast: Mapping[str, tuple[str, str]], options: argparse.Namespace) -> str:
    """Write a plan for a person: one sentence where nothing would run, unless more is asked for."""
    from titrant.hardware_text import elsewhere_text
    from titrant.verbs.run import is_up_to_date

    if is_up_to_date(forecast) and not options.verbose:
        sentence = f"{planned.plan.name}: up to date, plan {planned.digest[:8]}: nothing would run"
        return "\n".join(filter(None, (sentence, elsewhere_text(planned.hardware))))
    from titrant.plan_text import plan_text
    from titrant.verbs.facts import home_folder
    from titrant.verbs.gone_steps import no_longer_planned

    gone = no_longer_planned(planned, home_folder())
    text = plan_text(planned.plan, forecast, coverage=planned.coverage, gone=gone, verbose=options.verbose > 0)
    elsewhere = elsewhere_text(planned.hardware)
    return f"{elsewhere}\n\n{text}" if elsewhere else text

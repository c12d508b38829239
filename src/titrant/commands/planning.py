"""What `plan` and `run` print of a plan before anything happens."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from titrant.planned import Planned


def text_of(planned: "Planned", forecast: Mapping[str, tuple[str, str]], options: argparse.Namespace) -> str:
    """Write a plan for a person: one sentence where nothing would run, unless more is asked for."""
    from titrant.verbs.run import is_up_to_date

    if is_up_to_date(forecast) and not options.verbose:
        return f"{planned.plan.name}: up to date, plan {planned.digest[:8]}: nothing would run"
    from titrant.plan_text import plan_text

    return plan_text(planned.plan, forecast)

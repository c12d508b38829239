"""`titrant run`: plan, execute, judge, release, report."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from titrant import console
from titrant.commands.codes import OK
from titrant.commands.options import read_recipe, recipe_options, refuse_set
from titrant.commands.planning import text_of

if TYPE_CHECKING:
    from titrant.runtime.execution.worker import Worker


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipe", type=Path, metavar="RECIPE|PLAN")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and stop")


def call(options: argparse.Namespace) -> int:
    """Plan, show the plan, execute it, and print the verdict."""
    from titrant.planned import is_saved_plan, load
    from titrant.verbs.plan import plan as make_plan
    from titrant.verbs.plan import symbols
    from titrant.verbs.run import is_up_to_date, refuse_if_moved
    from titrant.verbs.run import run as verb
    from titrant.verdict_text import up_to_date_text, verdict_text

    worker: list[Worker] = []
    if is_saved_plan(options.recipe):
        refuse_set(options, "a saved plan")
        planned = refuse_if_moved(load(options.recipe), trust=options.trust)
    else:
        planned = make_plan(read_recipe(options), trust=options.trust, keep_worker=None if options.dry_run else worker)
    try:
        forecast = symbols(planned)
        up_to_date = is_up_to_date(forecast)
        if not options.quiet and not up_to_date:
            console.note(text_of(planned, forecast, options))
        if options.dry_run:
            if options.quiet or up_to_date:
                console.answer(text_of(planned, forecast, options))
            return OK
        with console.Progress(len(planned.plan.steps), quiet=options.quiet, verbose=options.verbose) as progress:
            record = verb(planned, listen=progress, worker=worker.pop() if worker else None)
    finally:
        for unused in worker:
            unused.close()
    console.answer(up_to_date_text(record) if record.executed == 0 else verdict_text(record, planned))
    return record.exit

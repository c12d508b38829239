"""`titrant validate`: judge a model that was optimized elsewhere."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.cli.options import data_option, read_recipe, recipe_options
from titrant.cli.plan import text_of
from titrant.cli.run import up_to_date_text, verdict_text

if TYPE_CHECKING:
    from titrant.runtime.worker.parent import Worker


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    data_option(parser)
    parser.add_argument(
        "original",
        metavar="ORIGINAL",
        help="what it is compared with: a model file, or `recipe` for the recipe's own model",
    )
    parser.add_argument("optimized", metavar="OPTIMIZED", help="the file to judge, or a run whose released file it is")
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="whose data and contract judge it")


def call(options: argparse.Namespace) -> int:
    """Plan, show the plan, judge the file, and print the verdict; no lock is written."""
    from titrant.api.run import answer_again, run
    from titrant.api.validate import plan_validation

    worker: list[Worker] = []
    try:
        planned, preview = plan_validation(
            options.original, options.optimized, read_recipe(options), trust=options.trust, keep_worker=worker
        )
        record = preview.answer
        if record is not None:
            answer_again(record)
            console.answer(up_to_date_text(record))
            return record.exit
        if not options.quiet:
            console.note(text_of(planned, preview.steps, options))
        with console.Progress(
            len(planned.plan.steps), quiet=options.quiet, verbose=options.verbose, show_data=options.show_data
        ) as progress:
            record = run(planned, listen=progress, worker=worker[0] if worker else None, preview=preview)
    finally:
        for kept in worker:
            kept.close()
    console.answer(verdict_text(record, planned))
    if record.exit == 0 and not options.quiet:
        console.note("no lock was written: a lock is of what a recipe makes, and this file was made elsewhere")
    return record.exit

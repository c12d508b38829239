"""`titrant run`: plan, execute, judge, release, report."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from titrant import console
from titrant.commands.options import read_recipe, recipe_options, refuse_set
from titrant.commands.planning import text_of
from titrant.schema.exit_codes import OK

if TYPE_CHECKING:
    from titrant.planned import Planned
    from titrant.runtime.execution.worker import Worker
    from titrant.schema.record import RunRecord


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipe", type=Path, metavar="RECIPE|PLAN")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and stop")
    parser.add_argument("--locked", action="store_true", help="do what the recipe's lock says, or exit 6")
    parser.add_argument(
        "--max-minutes", type=float, metavar="N", help="start no step after N minutes; what was judged decides"
    )


def call(options: argparse.Namespace) -> int:
    """Plan, show the plan, execute it, and print the verdict."""
    from titrant.planned import is_saved_plan, load
    from titrant.verbs.changed_recipe import changed_since
    from titrant.verbs.hold_lock import hold
    from titrant.verbs.plan import foresee
    from titrant.verbs.plan import plan as make_plan
    from titrant.verbs.run import is_up_to_date, refuse_if_moved
    from titrant.verbs.run import run as verb
    from titrant.verdict_text import up_to_date_text, verdict_text

    _check_minutes(options.max_minutes)
    worker: list[Worker] = []
    if is_saved_plan(options.recipe):
        refuse_set(options, "a saved plan")
        saved = load(options.recipe)
        planned = refuse_if_moved(saved, trust=options.trust)
        if changed := changed_since(saved):
            console.note(changed)
    else:
        planned = make_plan(read_recipe(options), trust=options.trust, keep_worker=None if options.dry_run else worker)
    try:
        replay = hold(planned) if options.locked else None
        forecast, record = foresee(planned)
        up_to_date = is_up_to_date(forecast)
        if not options.quiet and not up_to_date:
            console.note(text_of(planned, forecast, options))
        if options.dry_run:
            if options.quiet or up_to_date:
                console.answer(text_of(planned, forecast, options))
            return OK
        if record is None or replay is not None:
            with console.Progress(len(planned.plan.steps), quiet=options.quiet, verbose=options.verbose) as progress:
                record = verb(
                    planned,
                    listen=progress,
                    worker=worker.pop() if worker else None,
                    max_minutes=options.max_minutes,
                    replay=replay,
                )
    finally:
        for unused in worker:
            unused.close()
    console.answer(up_to_date_text(record) if record.executed == 0 else verdict_text(record, planned))
    if record.exit == OK and not options.locked and not is_saved_plan(options.recipe) and not options.max_minutes:
        _update_lock(planned, record, options.recipe, quiet=options.quiet)
    return record.exit


def _update_lock(planned: "Planned", record: "RunRecord", recipe: Path, *, quiet: bool) -> None:
    """Enter a successful run in the lock beside its recipe; one line where that changed it, or cannot be."""
    from titrant.commands.lock import lock_line
    from titrant.verbs.lock import update_lock

    found = update_lock(planned, record, recipe)
    unwritten = f"no lock was written: {found}" if isinstance(found, str) and found else ""
    said = unwritten if isinstance(found, str) else lock_line(found) if found.change else ""
    if said and not quiet:
        console.note(said)


def _check_minutes(minutes: float | None) -> None:
    if minutes is not None and not 0 < minutes < math.inf:
        from titrant.schema.diagnostics import Diagnostic, RecipeError

        help_text = "give a number of minutes above 0, such as 30"
        raise RecipeError(Diagnostic("P073", f"--max-minutes {minutes:g} is not a time to run in", help=help_text))

"""`titrant optimize`: write a recipe for a trained model, plan it and run it, in one go."""

import argparse
import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.cli import console
from titrant.cli.options import json_option
from titrant.cli.plan import text_of
from titrant.cli.run import enter_lock, up_to_date_text, verdict_text
from titrant.cli.starter_options import arguments_of, show_questions, starter_options
from titrant.schema.diagnostics.diagnostics import OK
from titrant.schema.planned import Planned

if TYPE_CHECKING:
    from titrant.api.optimize import Optimized
    from titrant.runtime.run.preview import PlanPreview
    from titrant.schema.record import RunRecord


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    starter_options(parser)
    json_option(parser, "the recipe's file, what was released and the record")


def call(options: argparse.Namespace) -> int:
    """Write the recipe, show the plan, execute it, and print the verdict and how to load what was released."""
    from titrant.api.optimize import optimize as verb
    from titrant.api.run import is_up_to_date
    from titrant.api.starter.questions import UnansweredError

    quiet = options.quiet or options.json
    progress: list[console.Progress] = []
    with ExitStack() as stack:

        def shown(recipe: Path, planned: Planned, preview: "PlanPreview") -> None:
            if not quiet:
                console.note(f"recipe: {recipe}")
            if not quiet and not is_up_to_date(preview.steps):
                console.note(f"\n{text_of(planned, preview.steps, options)}")
            steps = console.Progress(
                len(planned.plan.steps), quiet=quiet, verbose=options.verbose, show_data=options.show_data
            )
            progress.append(stack.enter_context(steps))

        def heard(event: Mapping[str, Any]) -> None:
            progress[0](event)

        try:
            optimized = verb(
                options.model,
                options.out,
                overrides=options.overrides,
                shown=shown,
                listen=heard,
                **arguments_of(options),
            )
        except UnansweredError as error:
            return show_questions(error, options)
    record = optimized.record
    if options.json:
        console.answer_json(_value(optimized))
    else:
        text = up_to_date_text(record) if record.executed == 0 else verdict_text(record, optimized.planned)
        console.answer(f"{text}\n{next_text(optimized)}")
    if record.exit == OK:
        enter_lock(optimized.planned, record, optimized.recipe, quiet=quiet)
    return record.exit


def _value(optimized: "Optimized") -> dict[str, object]:
    return {
        "recipe": str(optimized.recipe),
        "run": str(_run_folder(optimized.record)),
        "plan": optimized.planned.digest,
        "record": optimized.record,
    }


def next_text(optimized: "Optimized") -> str:
    """Say how what was released is loaded, and what to do with the recipe."""
    recipe = shlex.quote(str(optimized.recipe))
    lines = []
    if optimized.record.released:
        run = _nearby(_run_folder(optimized.record))
        lines += ["", "load it in Python; its transforms, classes and operating point come with it:"]
        lines += ["    import titrant", f"    model = titrant.load({str(run)!r})", "    model(rows).decisions"]
        lines += [f"the file itself and what goes with it: {run / 'outputs'}"]
    lines += ["", f"next: read {recipe}, edit it, commit it with its lock; then: titrant run {recipe}"]
    return "\n".join(lines)


def _nearby(folder: Path) -> Path:
    """Write a folder as seen from here where it lies below."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _run_folder(record: "RunRecord") -> Path:
    from titrant.runtime.store.home import home_folder

    return home_folder() / "runs" / record.run

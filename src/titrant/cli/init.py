"""`titrant init`: write a starter recipe for a model, and ask on a terminal what nothing says."""

import argparse

from titrant.cli import console
from titrant.cli.starter_options import arguments_of, ask, show_questions, starter_options
from titrant.schema.diagnostics.diagnostics import OK


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    starter_options(parser)
    parser.add_argument(
        "--measure", action="store_true", help="time the model's layers and batches first, and start from what pays"
    )


def call(options: argparse.Namespace) -> int:
    """Write the recipe, asking where somebody can answer, and say what comes next."""
    from titrant.api.init import init as verb
    from titrant.api.starter.questions import UnansweredError

    named, overrides = arguments_of(options), list(options.overrides)
    while True:
        try:
            file = verb(options.model, options.out, overrides=overrides, measure=options.measure, **named)
            break
        except UnansweredError as error:
            if options.quiet or not console.can_ask():
                return show_questions(error, options)
            overrides += map(ask, error.questions)
    console.answer(str(file))
    if not options.quiet:
        console.note(f"read it, edit it, commit it; then: titrant run {file}")
    return OK

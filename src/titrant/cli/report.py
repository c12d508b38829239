"""`titrant report`: show runs' reports."""

import argparse

from titrant.cli import console
from titrant.schema.diagnostics.diagnostics import OK, Diagnostic, RecipeError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder, id, unique prefix, or latest")
    parser.add_argument(
        "--rows", metavar="FILE", help="write one run's evaluation rows and both models' answers to a new .csv or .npz"
    )
    parser.add_argument("--format", choices=("html", "md", "json"), default="md", help="html prints the file's path")


def call(options: argparse.Namespace) -> int:
    """Print runs' reports, or the path of the HTML file."""
    from titrant.api.report import report as verb
    from titrant.api.runs import read_text

    if options.rows is not None:
        if len(options.runs) != 1:
            raise RecipeError(
                Diagnostic("P036", f"--rows writes one run's rows, and {len(options.runs)} are named", help="name one")
            )
        console.answer(str(verb(options.runs[0], rows=options.rows)))
        return OK
    for run_name in options.runs:
        file = verb(run_name, format=options.format)
        console.answer(str(file) if options.format == "html" else read_text(file))
    return OK

"""`titrant report`: show a run's report, or compare several runs."""

import argparse

from titrant.cli import console
from titrant.schema.diagnostics.diagnostics import OK


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="folder, id, unique prefix, or latest; several are compared"
    )
    parser.add_argument(
        "--rows", metavar="FILE", help="write one run's evaluation rows and both models' answers to a new .csv or .npz"
    )
    parser.add_argument("--format", choices=("html", "md", "json"), default="md", help="html prints the file's path")


def call(options: argparse.Namespace) -> int:
    """Print a report or a comparison, or the path of the HTML file."""
    from titrant.api.report import report as verb
    from titrant.api.runs import read_text

    if options.rows is not None:
        console.answer(str(verb(*options.runs, rows=options.rows)))
        return OK
    file = verb(*options.runs, format=options.format)
    console.answer(str(file) if options.format == "html" else read_text(file))
    return OK

"""`titrant report`: show runs' reports."""

import argparse

from titrant.cli import console
from titrant.schema.diagnostics.diagnostics import OK


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder, id, unique prefix, or latest")
    parser.add_argument("--format", choices=("html", "md", "json"), default="md", help="html prints the file's path")


def call(options: argparse.Namespace) -> int:
    """Print runs' reports, or the path of the HTML file."""
    from titrant.api.report import report as verb
    from titrant.api.runs import read_text

    for run_name in options.runs:
        file = verb(run_name, format=options.format)
        console.answer(str(file) if options.format == "html" else read_text(file))
    return OK

"""`titrant report`: show a run's report, compare several, pack a run into one file, open a packed one."""

import argparse
import os
from pathlib import Path

from titrant.cli import console
from titrant.cli.console import wrapped
from titrant.cli.options import nothing_to_act_on
from titrant.schema.diagnostics.diagnostics import OK, Diagnostic, RecipeError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folder, id, unique prefix, latest, or a packed run; several are compared",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--rows",
        metavar="FILE",
        help="write one run's evaluation rows and both models' answers to a new .csv or .npz",
    )
    what.add_argument("--pack", metavar="FILE", help="write one run's folder to a new file, sealed with TITRANT_KEY")
    what.add_argument("--unpack", metavar="FOLDER", help="unpack a packed run into a new folder")
    what.add_argument("--format", choices=("html", "md", "json"), default="md", help="html prints the file's path")


def call(options: argparse.Namespace) -> int:
    """Print a report or a comparison, or the path of the file that was written."""
    from titrant.api.report import report as verb
    from titrant.api.runs import read_text

    action = next((name for name in ("rows", "pack", "unpack") if getattr(options, name) is not None), None)
    if action is not None:
        if len(options.runs) != 1:
            message = f"--{action} takes one run, and {len(options.runs)} are named"
            raise RecipeError(Diagnostic("P036", message, help="name one"))
        written = verb(options.runs[0], **{action: getattr(options, action)})
        if action == "pack" and not options.quiet:
            console.note(_sealing())
        console.answer(str(written))
        return OK
    if len(options.runs) == 1:
        console.answer(_shown(options.runs[0], options.format))
        return OK
    file = verb(*options.runs, format=options.format)
    console.answer(str(file) if options.format == "html" else read_text(file))
    return OK


def _sealing() -> str:
    """Say whether a pack is encrypted: that a key is set, or is not, is easily overlooked."""
    from titrant.schema.config.sealed import KEY_VARIABLE

    is_set = bool(os.environ.get(KEY_VARIABLE))
    return f"sealed with the key in {KEY_VARIABLE}" if is_set else f"not encrypted: {KEY_VARIABLE} is not set"


def _shown(name: str, format: str) -> str:
    """Return a run's report, and how its trackers fared; of the HTML file its path."""
    from titrant.api.report import packed_report
    from titrant.api.report import report as verb
    from titrant.api.runs import read_text
    from titrant.runtime.store.run_folder import read_record

    if Path(name).is_file():
        if format == "html":
            advice = f"unpack it first: titrant report {name} --unpack FOLDER"
            raise nothing_to_act_on("--format html", "a packed run", advice)
        return packed_report(name, "json" if format == "json" else "md")
    file = verb(name, format="html" if format == "html" else "json" if format == "json" else "md")
    if format == "html":
        return str(file)
    record = read_record(file.parent)
    tracking = () if record is None or format == "json" else record.tracking
    lines = [read_text(file), *(wrapped(f"- {tracker.words}", "", "  ") for tracker in tracking)]
    return "\n".join([*lines, *([] if format == "json" else _hardware(file.parent))])


def _hardware(folder: Path) -> list[str]:
    """Say what the hardware did while a run worked, where its recipe asked for that; [] else."""
    from titrant.api.report import read_utilization

    seen = read_utilization(folder)
    if seen is None:
        return []
    from titrant.runtime.instruments.hardware.run_utilization import run_text

    return ["", "```", run_text(seen), "```"]

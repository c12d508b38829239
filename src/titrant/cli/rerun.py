"""`titrant rerun`: run a recorded run again and compare."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.cli.console import wrapped
from titrant.cli.options import data_option, json_option, trust_option
from titrant.schema.values.units import counted

if TYPE_CHECKING:
    from titrant.api.compare_rerun import Rerun


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", metavar="RUN|LOCK", help="folder, id, unique prefix, latest, or a .lock.yaml file")
    parser.add_argument("--exact", action="store_true", help="exit 7 for an equivalent result too")
    parser.add_argument("--redecide", action="store_true", help="choose anew instead of replaying recorded decisions")
    trust_option(parser)
    data_option(parser)
    json_option(parser, "the comparison")


def call(options: argparse.Namespace) -> int:
    """Run again what was recorded, and print whether it came out the same."""
    from titrant.api.rerun import rerun as verb
    from titrant.runtime.store.home import home_folder

    quiet = options.quiet or options.json
    with console.Progress(0, quiet=quiet, verbose=options.verbose, show_data=options.show_data) as progress:
        outcome = verb(
            options.run, exact=options.exact, redecide=options.redecide, trust=options.trust, listen=progress
        )
    if options.json:
        console.answer_json(outcome)
    else:
        console.answer(rerun_text(outcome, home_folder() / "runs" / outcome.run))
    return outcome.exit


_MEANING = {
    "identical": "every exact step gave the same bytes",
    "equivalent": "bytes differ, the cause is known, and every metric is within its tolerance",
    "unexplained": "a step that claims to be exact gave different bytes: a defect of its operator, or your own code "
    "draws on something that no file shows, such as an unseeded generator, the time or a variable",
    "different": "the run did not come out the same",
}


def rerun_text(outcome: "Rerun", folder: Path) -> str:
    """Write verdict, first cause, largest difference, and what would bring the environment back."""
    from titrant.api.compare_rerun import largest
    from titrant.runtime.store.run_folder import report_of

    word = "reproduced" if outcome.verdict in ("identical", "equivalent") else "not reproduced"
    lines = [wrapped(f"{outcome.of}: {word}, {outcome.verdict}: {_MEANING[outcome.verdict]}", "", "  ")]
    if outcome.cause:
        lines.append(_line(f"first cause: {outcome.cause}"))
    lines.append(_line(f"{counted(outcome.same, 'output')} of exact steps the same, {len(outcome.tensors)} different"))
    if outcome.tensors:
        lines.append(_line(f"first differs at {outcome.tensors[0]['output']}{_note(outcome.tensors[0]['note'])}"))
    if (worst := largest(outcome)) is not None:
        lines.append(
            _line(
                f"largest difference: {worst['relative']:.3g} of the tensor's largest value ({worst['absolute']:.3g}), "
                f"{worst['tensor']} of {worst['output']}"
            )
        )
    lines += [_line(f"beyond its tolerance: {text}") for text in outcome.metrics]
    lines += [_line(f"also differs: {text}") for text in outcome.changes if text not in outcome.cause]
    lines += [_line(f"would now choose: {text}") for text in outcome.would_now]
    lines += [_line(f"fresh measurement: {text}") for text in outcome.notes]
    if outcome.restore:
        lines.append(f"  to restore the environment: {outcome.restore}")
    lines.append(f"report: {report_of(folder) or folder}")
    return "\n".join(lines)


def _note(text: str) -> str:
    return f" ({text})" if text else ""


def _line(text: str) -> str:
    return wrapped(text, "  ", "    ")

"""`titrant rerun`: run a recorded run again and compare.

A rerun's outcome as text for people.
"""

import argparse
from pathlib import Path

from titrant.api.compare_rerun import Rerun, largest
from titrant.cli import console
from titrant.cli.console import wrapped
from titrant.cli.options import json_option, trust_option
from titrant.schema.values.units import counted


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", metavar="RUN|LOCK", help="folder, id, unique prefix, latest, or a .lock.yaml file")
    parser.add_argument("--exact", action="store_true", help="exit 7 for an equivalent result too")
    parser.add_argument("--redecide", action="store_true", help="choose anew instead of replaying recorded decisions")
    trust_option(parser)
    json_option(parser, "the comparison")


def call(options: argparse.Namespace) -> int:
    """Run again what was recorded, and print whether it came out the same."""
    from titrant.api.rerun import rerun as verb
    from titrant.runtime.store.home import home_folder

    with console.Progress(0, quiet=options.quiet or options.json, verbose=options.verbose) as progress:
        found = verb(options.run, exact=options.exact, redecide=options.redecide, trust=options.trust, listen=progress)
    if options.json:
        console.answer_json(found)
    else:
        console.answer(rerun_text(found, home_folder() / "runs" / found.run))
    return found.exit


_MEANING = {
    "identical": "every exact step gave the same bytes",
    "equivalent": "bytes differ, the cause is known, and every metric is within its tolerance",
    "unexplained": "a step that claims to be exact gave different bytes: a defect of its operator, or your own code "
    "draws on something that no file shows, such as an unseeded generator, the time or a variable",
    "different": "the run did not come out the same",
}


def rerun_text(found: Rerun, folder: Path) -> str:
    """Write verdict, first cause, largest difference, and what would bring the environment back."""
    word = "reproduced" if found.verdict in ("identical", "equivalent") else "not reproduced"
    lines = [wrapped(f"{found.of}: {word}, {found.verdict}: {_MEANING[found.verdict]}", "", "  ")]
    if found.cause:
        lines.append(_line(f"first cause: {found.cause}"))
    lines.append(_line(f"{counted(found.same, 'output')} of exact steps the same, {len(found.tensors)} different"))
    if found.tensors:
        lines.append(_line(f"first differs at {found.tensors[0]['output']}{_note(found.tensors[0]['note'])}"))
    if (worst := largest(found)) is not None:
        lines.append(
            _line(
                f"largest difference: {worst['relative']:.3g} of the tensor's largest value ({worst['absolute']:.3g}), "
                f"{worst['tensor']} of {worst['output']}"
            )
        )
    lines += [_line(f"beyond its tolerance: {text}") for text in found.metrics]
    lines += [_line(f"also differs: {text}") for text in found.changes if text not in found.cause]
    lines += [_line(f"would now choose: {text}") for text in found.would_now]
    lines += [_line(f"fresh measurement: {text}") for text in found.notes]
    if found.restore:
        lines.append(f"  to restore the environment: {found.restore}")
    lines.append(f"report: {folder / 'report.html'}")
    return "\n".join(lines)


def _note(text: str) -> str:
    return f" ({text})" if text else ""


def _line(text: str) -> str:
    return wrapped(text, "  ", "    ")

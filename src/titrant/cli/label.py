"""`titrant label`: write the rows whose labels would prove what a run left open."""

import argparse
from pathlib import Path

from titrant.cli import console
from titrant.cli.console import wrapped
from titrant.cli.options import json_option
from titrant.schema.diagnostics.diagnostics import OK
from titrant.schema.values.units import counted


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", metavar="RUN", help="folder, id, unique prefix, or latest")
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="the table to write; it must be new")
    parser.add_argument("--candidate", metavar="NAME", help="of this candidate only; default: of all that were judged")
    json_option(parser, "what was written")


def call(options: argparse.Namespace) -> int:
    """Write the rows, and say what their labels may prove."""
    from titrant.api.label import label as verb

    written = verb(options.run, options.out, candidate=options.candidate)
    if options.json:
        console.answer_json(written)
        return OK
    apart = ", ".join(f"{name} on {count:,}" for name, count in written.differing.items())
    if not written.rows:
        console.answer(f"no row needs a label: both models decide alike on all {written.unlabeled:,} ({apart})")
        return OK
    lines = [f"{written.file}: {counted(written.rows, 'row')} to label of {written.unlabeled:,}"]
    lines.append(wrapped(f"decided otherwise than the original: {apart}", "  ", "    "))
    if written.labeled:
        lines.append(f"  {counted(written.labeled, 'row')} with the label that the run was given")
    lines += [wrapped(f"{gate}: {reason}", "  ", "    ") for gate, reason in written.open.items()]
    if not written.open:
        lines.append("  no gate that is open is one which these labels help to prove: the plan says which are")
    lines.append("  fill in titrant_label, and name the file as data.labels")
    console.answer("\n".join(lines))
    return OK

"""`titrant doctor`: is this environment able to do the work, and what to install."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.cli.console import wrapped
from titrant.cli.hardware import cores_text
from titrant.cli.options import json_option, read_recipe, recipe_options, refuse_set
from titrant.schema.diagnostics.diagnostics import INFEASIBLE, OK
from titrant.schema.values.units import format_size

if TYPE_CHECKING:
    from titrant.api.doctor import Checkup
    from titrant.api.doctor_machine import DoctorRow, SuitabilityRow

_INDENT = 28


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("recipe", nargs="?", type=Path, metavar="RECIPE", help="look at what this recipe needs, too")
    json_option(parser, "what was found")


def call(options: argparse.Namespace) -> int:
    """Print what was found; 3 when anything lacks that the work needs."""
    from titrant.api.doctor import doctor as verb

    if options.recipe is None:
        refuse_set(options, "this machine alone", trust_too=True)
    checkup = verb(read_recipe(options) if options.recipe else None, trust=options.trust)
    if options.json:
        console.answer_json(checkup)
    else:
        console.answer(doctor_text(checkup))
    return OK if checkup.able else INFEASIBLE


def doctor_text(checkup: "Checkup") -> str:
    """Write the environment, the recipe's needs, what suits this machine, and a verdict."""
    identity = checkup.hardware.identity
    memory = "unknown memory" if identity.memory_bytes is None else format_size(identity.memory_bytes)
    blocks = [
        f"{identity.cpu} · {cores_text(identity.cores)} · {memory}",
        _block("environment", map(_finding, checkup.environment)),
    ]
    if checkup.needs:
        blocks.append(_block(f"what {checkup.recipe} needs", map(_finding, checkup.needs)))
    blocks += [
        _block("what this machine can do", map(_finding, checkup.capabilities)),
        _block("levels for this machine, the one that suits best first", map(_suits, checkup.levels)),
        _block("quantization methods, from gentle to aggressive", map(_suits, checkup.methods)),
        _verdict(checkup),
    ]
    return "\n\n".join(blocks) + "\n"


def _block(title: str, lines: Iterable[str]) -> str:
    return "\n".join([title, *lines])


def _finding(finding: "DoctorRow") -> str:
    line = _filled(f"  {finding.state:<5} {finding.subject:<18}", finding.found)
    return f"{line}\n{_filled(' ' * _INDENT, f'→ {finding.remedy}')}" if finding.remedy else line


def _suits(row: "SuitabilityRow") -> str:
    return _filled(f"  {'yes' if row.suits else 'no':<5} {row.name:<18}", row.because)


def _filled(head: str, text: str) -> str:
    return wrapped(text, f"{head:<{_INDENT}}", " " * _INDENT)


def _verdict(checkup: "Checkup") -> str:
    from titrant.api.doctor import all_findings, blocking_rows

    lacks = blocking_rows(all_findings(checkup))
    if not lacks:
        return f"able to run {checkup.recipe} here" if checkup.recipe else "able to work here"
    subjects = ", ".join(dict.fromkeys(finding.subject for finding in lacks))
    what = f"run {checkup.recipe}" if checkup.recipe else "work"
    return f"not able to {what} here yet: {subjects}"

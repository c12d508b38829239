"""`titrant store`: verify what is stored, and let go of what is no longer used."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.cli.options import json_option, nothing_to_act_on
from titrant.schema.diagnostics.diagnostics import OK, STEP_FAILED
from titrant.schema.values.units import counted, format_size, format_time

if TYPE_CHECKING:
    from titrant.runtime.store.clean import Freed
    from titrant.runtime.store.verify import Verified

_SHOWN = 50
_OLDER_THAN = "30 days"
_OF_GC = ("older_than", "keep", "forget_runs", "lock", "dry_run")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("action", choices=("verify", "gc"))
    json_option(parser, "the answer")
    verify = parser.add_argument_group("verify", "read every file and follow every result; exit 4 when one is damaged")
    verify.add_argument("--repair", action="store_true", help="forget what is damaged, so that it is made again")
    gc = parser.add_argument_group("gc", "let go of what was not used for long and nothing refers to")
    gc.add_argument("--older-than", metavar="AGE", help=f"not used for this long (default: {_OLDER_THAN})")
    gc.add_argument("--keep", metavar="SIZE", help="then the least recently used, until at most SIZE is left")
    gc.add_argument(
        "--forget-runs", metavar="AGE", help="let runs that ended longer ago keep nothing; their folders stay"
    )
    gc.add_argument("--lock", type=Path, action="append", default=[], metavar="FILE", help="a lock file elsewhere")
    gc.add_argument("--dry-run", action="store_true", help="say what would go, and let nothing go")


def call(options: argparse.Namespace) -> int:
    """Verify or clean the store of this home."""
    _refuse_what_has_no_use(options)
    with console.Counting(quiet=options.quiet) as counting:
        if options.action == "verify":
            from titrant.api.store import verify_store

            verified = verify_store(repair=options.repair, tell=counting)
        else:
            from titrant.api.store import clean_store

            freed = clean_store(
                older_than=options.older_than or _OLDER_THAN,
                keep=options.keep,
                forget_runs=options.forget_runs,
                locks=options.lock,
                dry_run=options.dry_run,
                tell=counting,
            )
    if options.action == "verify":
        _answer(options, verified, verified_text(verified))
        # As a step that failed: something that was made is not there, and must be made again.
        return OK if verified.intact else STEP_FAILED
    _answer(options, freed, freed_text(freed))
    return OK


def _refuse_what_has_no_use(options: argparse.Namespace) -> None:
    given = [name for name in (_OF_GC if options.action == "verify" else ("repair",)) if getattr(options, name)]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise nothing_to_act_on(option, f"store {options.action}", "see titrant store --help")


def _answer(options: argparse.Namespace, value: object, text: str) -> None:
    if options.json:
        console.answer_json(value)
    else:
        console.answer(text)


def verified_text(verified: "Verified") -> str:
    """Write what was read and what is wrong with it."""
    speed = f", {format_size(verified.read_bytes / verified.seconds)}/s" if verified.seconds else ""
    lines = [
        f"{counted(verified.files, 'file')} of {format_size(verified.read_bytes)} and "
        f"{counted(verified.results, 'result')} read in {format_time(verified.seconds)}{speed}"
    ]
    for finding in verified.findings[:_SHOWN]:
        operator = f" ({finding.operator})" if finding.operator else ""
        lines.append(f"  damaged: {finding.path}{operator}: {finding.what}")
    more = len(verified.findings) - _SHOWN
    if more > 0:
        lines.append(f"  … and {more} more")
    if not verified.findings:
        lines.append("everything is intact")
    elif verified.repaired:
        lines.append(f"{counted(len(verified.findings), 'damaged file')} forgotten: made again when a run needs them")
    else:
        lines.append(
            f"{len(verified.findings)} damaged: runs do not use them; forget them with: titrant store verify --repair"
        )
    return "\n".join(lines)


def freed_text(freed: "Freed") -> str:
    """Write what went, or would go, and what holds the rest."""
    verb = "freed" if freed.done else "would free"
    results = sum(freed.results.values())
    lines = [f"{verb} {format_size(freed.bytes)}: {counted(results, 'result')}, {counted(freed.files, 'file')}"]
    lines += [f"  {operator}: {count}" for operator, count in freed.results.items()]
    if freed.trainings:
        lines.append(f"  of {counted(freed.trainings, 'training')} that ended before its time: the checkpoints")
    lines.append(
        f"kept {format_size(freed.kept_bytes)}: {counted(freed.kept_results, 'result')}, {freed.referenced_results} of "
        f"them because runs or locks refer to them, {freed.recent_results} because they are recent"
    )
    lines += [f"  in progress: {run}" for run in freed.in_progress]
    return "\n".join(lines)

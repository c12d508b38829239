"""`titrant rerun`: run a recorded run again and compare."""

import argparse

from titrant import console
from titrant.commands.options import json_option, trust_option


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", metavar="RUN|LOCK", help="folder, id, unique prefix, latest, or a .lock.yaml file")
    parser.add_argument("--exact", action="store_true", help="exit 7 for an equivalent result too")
    parser.add_argument("--redecide", action="store_true", help="choose anew instead of replaying recorded decisions")
    trust_option(parser)
    json_option(parser, "the comparison")


def call(options: argparse.Namespace) -> int:
    """Run again what was recorded, and print whether it came out the same."""
    from titrant.rerun_text import rerun_text
    from titrant.verbs.facts import home_folder
    from titrant.verbs.rerun import rerun as verb

    with console.Progress(0, quiet=options.quiet or options.json, verbose=options.verbose) as progress:
        found = verb(options.run, exact=options.exact, redecide=options.redecide, trust=options.trust, listen=progress)
    if options.json:
        console.answer_json(found)
    else:
        console.answer(rerun_text(found, home_folder() / "runs" / found.run))
    return found.exit

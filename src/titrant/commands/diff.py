"""`titrant diff`: what differs between two recipes, plans, runs or locks."""

import argparse

from titrant import console
from titrant.commands.options import json_option, nothing_to_act_on, trust_option
from titrant.schema.exit_codes import OK, OUT_OF_DATE


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    thing = "a recipe (.yaml), a saved plan (.json), a lock (.lock.yaml), or a run (folder, id, prefix, latest)"
    parser.add_argument("old", metavar="A", help=thing)
    parser.add_argument("new", metavar="B", help="another one; a recipe, a plan and a run can be compared too")
    json_option(parser, "the differences")
    parser.add_argument("--exit-code", action="store_true", help="exit 6 when anything but measurements differs")
    trust_option(parser)


def call(options: argparse.Namespace) -> int:
    """Print what differs."""
    from titrant.diff_text import diff_text, diff_value
    from titrant.verbs.diff import diff as verb

    if options.trust:
        _refuse_trust(options)
    found = verb(options.old, options.new, trust=options.trust)
    if options.json:
        console.answer_json(diff_value(found))
    else:
        console.answer(diff_text(found, verbose=options.verbose > 0))
    differ = any(not one.measured and one.layer != "aside" for one in found.differences)
    return OUT_OF_DATE if options.exit_code and differ else OK


def _refuse_trust(options: argparse.Namespace) -> None:
    """Refuse `--trust` where no recipe is planned: two recipes are compared as text."""
    from titrant.verbs.compared import kind_of

    if [kind_of(options.old), kind_of(options.new)].count("recipe") != 1:
        raise nothing_to_act_on("--trust", "a comparison that plans no recipe", "leave it out")

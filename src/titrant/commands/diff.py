"""`titrant diff`: what differs between two recipes, plans, runs or locks."""

import argparse

from titrant import console
from titrant.commands.codes import OK, OUT_OF_DATE


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    thing = "a recipe (.yaml), a saved plan (.json), a lock (.lock.yaml), or a run (folder, id, prefix, latest)"
    parser.add_argument("old", metavar="A", help=thing)
    parser.add_argument("new", metavar="B", help="another one; a recipe, a plan and a run can be compared too")
    parser.add_argument("--json", action="store_true", help="the differences as JSON")
    parser.add_argument("--exit-code", action="store_true", help="exit 6 when anything but measurements differs")
    parser.add_argument("--trust", action="store_true", help="let a recipe run code from outside its folder")


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
    from titrant.compared import kind_of
    from titrant.schema.diagnostics import Diagnostic, RecipeError

    if [kind_of(options.old), kind_of(options.new)].count("recipe") != 1:
        message = "--trust has nothing to act on where no recipe is planned"
        raise RecipeError(Diagnostic("P014", message, help="leave it out"))

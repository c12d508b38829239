"""`titrant hardware`: describe this machine."""

import argparse
from pathlib import Path

from titrant import console
from titrant.commands.codes import OK


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", type=Path, metavar="FILE", help="save the description to plan with elsewhere")


def call(options: argparse.Namespace) -> int:
    """Describe this machine."""
    from titrant.compiler.hardware import detect
    from titrant.hardware_text import hardware_text
    from titrant.verbs.facts import home_folder
    from titrant.verbs.hardware import save_hardware

    found = detect(home_folder())
    if options.save:
        save_hardware(found, options.save)
        console.note(f"saved {options.save}; plan for this machine with: titrant plan RECIPE --hardware {options.save}")
    elif options.json:
        console.answer_json(found)
    else:
        console.answer(hardware_text(found))
    return OK

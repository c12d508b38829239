"""`titrant recipes cp`: copy a shipped recipe."""

import argparse
from pathlib import Path

from titrant.cli import console
from titrant.schema.diagnostics.diagnostics import OK


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("action", choices=("cp",))
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("file", type=Path, metavar="FILE")


def call(options: argparse.Namespace) -> int:
    """Copy a shipped recipe."""
    from titrant.api.recipes import copy_recipe

    copy_recipe(options.name, options.file)
    console.note(f"copied to {options.file}; check it with: titrant check {options.file}")
    return OK

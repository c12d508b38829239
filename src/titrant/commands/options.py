"""The options that several verbs share, and what they mean."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from titrant.schema.diagnostics import RecipeError
    from titrant.schema.source import ParsedRecipe


def recipe_options(parser: argparse.ArgumentParser) -> None:
    """Declare `--set` and `--trust`, of every verb that reads a recipe."""
    group = parser.add_argument_group("recipe")
    group.add_argument(
        "--set", action="append", default=[], metavar="a.b=v", dest="overrides", help="override a key; v is YAML"
    )
    trust_option(group)


def trust_option(parser: argparse._ActionsContainer) -> None:
    """Declare `--trust`, of every verb that may run a recipe's code."""
    parser.add_argument("--trust", action="store_true", help="let the recipe run code from outside its folder")


def output_options(parser: argparse.ArgumentParser) -> None:
    """Declare what every verb has: how much is said, and where the log goes."""
    group = parser.add_argument_group("output")
    group.add_argument("-q", "--quiet", action="store_true", help="only the answer")
    group.add_argument("-v", "--verbose", action="count", default=0, help="more: what each step prints and measures")
    group.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), help="log to stderr from this level on"
    )
    group.add_argument("--log-file", type=Path, metavar="FILE", help="log everything as JSON lines")


def json_option(parser: argparse._ActionsContainer, what: str) -> None:
    """Declare `--json`; `what` says in a few words what then is on stdout."""
    parser.add_argument("--json", action="store_true", help=f"{what}, as JSON")


def read_recipe(options: argparse.Namespace) -> "ParsedRecipe":
    """Read the recipe that a verb was given, with its overrides."""
    from titrant.schema.source import read

    recipe: Path = options.recipe
    return read(recipe, options.overrides)


def refuse_set(options: argparse.Namespace, what: str, *, trust_too: bool = False) -> None:
    """Refuse options of a recipe where none is read, rather than ignore them."""
    given = ["--set"] * bool(options.overrides) + ["--trust"] * bool(trust_too and options.trust)
    if given:
        raise nothing_to_act_on(given[0], what, "plan the recipe again with it, or leave it out")


def nothing_to_act_on(option: str, what: str, advice: str) -> "RecipeError":
    """Make the error of an option that would be ignored (P014)."""
    from titrant.schema.diagnostics import Diagnostic, RecipeError

    return RecipeError(Diagnostic("P014", f"{option} has nothing to act on in {what}", help=advice))

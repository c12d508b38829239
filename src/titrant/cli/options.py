"""The verbs of the command line, and the options that several of them share.

Each verb is one file here: `arguments(parser)` declares its options, `call(options)` gives the exit code. It calls the
function of the same name in `titrant.api` and prints its answer. Adding one is adding the file and its line in VERBS.
"""

import argparse

# Type checkers take this name for true. Loading `typing` and `pathlib` takes a third of the time of `titrant --help`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from titrant.schema.diagnostics.diagnostics import RecipeError
    from titrant.schema.language.parse import ParsedRecipe

# In the order of `titrant --help`.
VERBS = {
    "optimize": "write a recipe for a trained model, plan it and run it, in one go",
    "init": "write a starter recipe for a model, with what was found out about it",
    "check": "parse and bind recipes; looks at no machine and runs no code",
    "plan": "show what would be done, why, and what it must keep",
    "run": "plan, execute, judge, release, report",
    "validate": "judge a model that was optimized elsewhere, by a recipe's contract",
    "status": "what would run now, and why",
    "lock": "write a recipe's lock from a run, or check that it still holds",
    "rerun": "run a recorded run again from its stored recipe, and say whether it came out the same",
    "diff": "what differs between two recipes, plans, runs or locks, and what caused it",
    "explain": "why a value is what it is, what a step did, what a code means",
    "report": "show a run's report, or compare several",
    "evidence": "make, sign or verify the evidence pack of a run: titrant evidence make|sign|verify RUN",
    "label": "write the rows whose labels would prove what a run left open",
    "inspect": "what a model is made of, and whether a level suits it",
    "bench": "time models side by side: files, factories, what a run made and released",
    "hardware": "describe this machine or another, measure it, follow it",
    "doctor": "is this environment able to do the work, and what to install",
    "store": "verify what is stored, or let go of what is no longer used: titrant store verify|gc",
    "show": "list operators, recipes, runs, or print the recipe language's JSON Schema",
    "recipes": "copy a shipped recipe to own it: titrant recipes cp NAME FILE",
    "migrate": "rewrite recipes of older versions of the language, comments kept",
}


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


def data_option(parser: argparse._ActionsContainer) -> None:
    """Declare `--show-data`, of every verb that looks at data."""
    parser.add_argument(
        "--show-data",
        action="store_true",
        help="show on this terminal what may hold rows: texts of exceptions, names of files, what code prints",
    )


def output_options(parser: argparse.ArgumentParser) -> None:
    """Declare what every verb has: how much is said, and where the log goes."""
    from pathlib import Path

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
    from titrant.schema.language.parse import read

    recipe: Path = options.recipe
    return read(recipe, options.overrides)


def refuse_set(options: argparse.Namespace, what: str, *, trust_too: bool = False) -> None:
    """Refuse options of a recipe where none is read, rather than ignore them."""
    given = ["--set"] * bool(options.overrides) + ["--trust"] * bool(trust_too and options.trust)
    if given:
        raise nothing_to_act_on(given[0], what, "plan the recipe again with it, or leave it out")


def nothing_to_act_on(option: str, what: str, advice: str) -> "RecipeError":
    """Make the error of an option that would be ignored (P014)."""
    from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

    return RecipeError(Diagnostic("P014", f"{option} has nothing to act on in {what}", help=advice))


_EXAMPLES = {
    "--args": """such as --args '{"features": 30, "classes": 2}'""",
    "--inputs": """such as --inputs '[{"name": "image", "shape": ["batch", 3, 224, 224], "dtype": "float32"}]'""",
}


def parse_json(text: str | None, flag: str, kind: type) -> "Any":
    """Read the JSON of a flag; RecipeError P080 for what is no JSON, or another sort of value."""
    if text is None:
        return None
    import json

    from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

    try:
        value = json.loads(text)
    except ValueError as error:
        raise RecipeError(Diagnostic("P080", f"{flag} is not JSON: {error}", help=_EXAMPLES[flag])) from None
    if not isinstance(value, kind):
        raise RecipeError(Diagnostic("P080", f"{flag} holds {type(value).__name__}", help=_EXAMPLES[flag]))
    return value

"""`titrant show`: list operators, recipes, runs, or the recipe language."""

import argparse

from titrant import console
from titrant.commands.codes import OK


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("what", choices=("operators", "recipes", "schema", "runs"))
    parser.add_argument("name", nargs="?", help="show one operator or recipe whole")


def call(options: argparse.Namespace) -> int:
    """List operators, recipes or runs, or print the JSON Schema of the recipe language."""
    from titrant.verbs import show as verb
    from titrant.verbs.facts import home_folder

    if options.what == "operators":
        listed = verb.operators() if options.name is None else None
        console.answer(console.table(list(listed.items())) if listed is not None else verb.operator_page(options.name))
    elif options.what == "recipes":
        listed = verb.recipes() if options.name is None else None
        console.answer(console.table(list(listed.items())) if listed is not None else verb.recipe_text(options.name))
    elif options.what == "schema":
        from titrant.schema.json_schema import recipe_schema

        console.answer_json(recipe_schema())
    else:
        rows = [(row["run"], row["verdict"], f"exit {row['exit']}", row["name"]) for row in verb.runs(home_folder())]
        console.answer(console.table(rows) or "no runs here yet; make one with: titrant run RECIPE")
    return OK

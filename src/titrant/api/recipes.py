"""List the shipped recipes, and copy one to own it."""

from importlib import resources
from pathlib import Path

from titrant.api.show import require_name
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError


def recipes() -> dict[str, str]:
    """List the shipped recipes: name → the first sentence of the file's comment."""
    from titrant.schema.values.files import is_lock

    shipped = {}
    for file in sorted(resources.files("titrant.recipes").iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml") and not is_lock(file.name):
            comment = file.read_text("utf-8").splitlines()[0].lstrip("# ")
            shipped[file.name.removesuffix(".yaml")] = comment.partition(". ")[0].rstrip(".") + "."
    return shipped


def recipe_text(name: str) -> str:
    """Return a shipped recipe's text."""
    require_name(name, tuple(recipes()), "recipe")
    return resources.files("titrant.recipes").joinpath(f"{name}.yaml").read_text("utf-8")


def copy_recipe(name: str, file: Path) -> None:
    """Copy a shipped recipe to own it; an existing file is never overwritten."""
    from titrant.api.planned import write_file

    text = recipe_text(name)
    if file.exists() or file.is_symlink():
        raise RecipeError(Diagnostic("P003", f"{file} is there already", help="name a file that does not exist yet"))
    write_file(file, text)

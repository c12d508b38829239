"""List what there is: operators, shipped recipes, and the recipe language."""

from importlib import resources
from pathlib import Path

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError


def operators() -> dict[str, str]:
    """List every built-in operator with its one-line description."""
    from titrant.runtime import catalog

    return {name: catalog.get(name).doc.splitlines()[0] for name in catalog.names()}


def operator_page(name: str) -> str:
    """Return an operator's page: what it does, its parameters and ports; RecipeError names the nearest for a typo."""
    from titrant.runtime import catalog
    from titrant.runtime.operator_pages import page

    _known(name, catalog.names(), "operator")
    return page(catalog.get(name))


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
    _known(name, tuple(recipes()), "recipe")
    return resources.files("titrant.recipes").joinpath(f"{name}.yaml").read_text("utf-8")


def copy_recipe(name: str, file: Path) -> None:
    """Copy a shipped recipe to own it; an existing file is never overwritten."""
    from titrant.api.planned import write_file

    text = recipe_text(name)
    if file.exists() or file.is_symlink():
        raise RecipeError(Diagnostic("P003", f"{file} is there already", help="name a file that does not exist yet"))
    write_file(file, text)


def _known(name: str, names: tuple[str, ...], noun: str) -> None:
    if name not in names:
        from titrant.schema.language.nearest import nearest

        near = nearest(name, names)
        help_text = f"did you mean '{near}'?" if near else f"there are: {', '.join(names)}"
        raise RecipeError(Diagnostic("P004", f"there is no {noun} '{name}'", help=help_text))

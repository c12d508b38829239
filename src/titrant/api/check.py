"""Check recipes, their text, names and options, without looking at the machine; write one that was built or read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, TitrantError

if TYPE_CHECKING:
    from titrant.compiler.bind.bound_recipe import BoundRecipe
    from titrant.schema.language.parse import ParsedRecipe


def check(
    recipe: "ParsedRecipe | Path | str", *, overrides: Sequence[str] = (), trust: bool = False
) -> tuple[Diagnostic, ...]:
    """Parse and bind one recipe and return everything found wrong, in file order; () when it is fine.

    One that was read or built already is bound; it has its overrides, and RecipeError P014 refuses others. Of a lock,
    which stands among the recipes, it is checked that it can be read. Nothing of the user's code runs and neither torch
    nor the machine is looked at. A user's own operator is checked once a plan has described it; until then a warning
    says that it is not.
    """
    from titrant.schema.language.parse import ParsedRecipe, read
    from titrant.schema.values.files import is_lock

    if isinstance(recipe, ParsedRecipe):
        if overrides:
            advice = "give them to titrant.read"
            raise RecipeError(Diagnostic("P014", "a recipe that was read already takes no overrides", help=advice))
        return _bound(recipe, trust=trust)
    recipe = Path(recipe)
    try:
        if is_lock(recipe.name) and recipe.is_file():
            from titrant.schema.lock import read_lock

            read_lock(recipe)
            return ()
        parsed = read(recipe, overrides)
    except TitrantError as error:
        return error.diagnostics
    return _bound(parsed, trust=trust)


def _bound(parsed: "ParsedRecipe", *, trust: bool) -> tuple[Diagnostic, ...]:
    from titrant.compiler.bind.bind import bind

    try:
        bound = bind(parsed, trust=trust)
        return (*bound.warnings, *_own_operator(bound))
    except TitrantError as error:
        return error.diagnostics


def _own_operator(bound: "BoundRecipe") -> tuple[Diagnostic, ...]:
    """Check the options of a user's operator against what a plan has found out about it, if one has."""
    if ":" not in bound.recipe.quantization.method:
        return ()
    from titrant.compiler.facts.user_operators import check_described
    from titrant.schema.values.files import home_path

    return check_described(bound, home_path() / "facts")


def write(recipe: "ParsedRecipe", file: Path | str, *, force: bool = False) -> Path:
    """Write a recipe to a .yaml file that `titrant.read` gives it back from, and return the file.

    One that was read keeps its text; one that extends another, or was overridden, is written whole. Its paths start in
    its folder, so that is where it is written. Raises RecipeError P083 for another folder, for a name that is no
    recipe's, and for a file that is there already with other content, unless `force`; P084 for what is no recipe.
    """
    from titrant.api.plan import check_recipe, resolved_text
    from titrant.api.planned import write_file
    from titrant.schema.values.files import YAML_SUFFIXES, is_lock

    check_recipe(recipe)
    path = Path(file)
    text = resolved_text(recipe)
    refusal = None
    if path.suffix not in YAML_SUFFIXES or is_lock(path.name):
        refusal = (f"{path.name} is no name of a recipe", f"name it {path.with_suffix('.yaml').name}")
    elif path.parent.resolve() != recipe.folder.resolve():
        refusal = (
            f"the paths in this recipe start in {recipe.folder.absolute()}, and {path} stands elsewhere",
            f"write it to {recipe.folder / path.name}, or build it with folder=Path({str(path.parent)!r})",
        )
    elif path.exists() and not force and path.read_bytes() != text.encode():
        refusal = (f"{path} is there already, with other content", "name another file, or say force=True")
    if refusal is not None:
        raise RecipeError(Diagnostic("P083", refusal[0], help=refusal[1]))
    write_file(path, text)
    return path

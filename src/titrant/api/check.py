"""Check recipes: their text, names and options, without looking at the machine.

Keep a recipe as its author wrote it, beside the resolved text that a run executes.
Say whether the recipe of a saved plan has changed since.
"""

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

"""Point what a child process finds wrong with a recipe at the recipe's lines."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from titrant.compiler.bound import BoundRecipe
from titrant.schema.diagnostics import Diagnostic, RecipeError


def located(bound: BoundRecipe, ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Ask, and give each diagnostic of a RecipeError that names a key the place of its value."""
    try:
        return ask()
    except RecipeError as error:
        raise RecipeError(*(_placed(bound, diagnostic) for diagnostic in error.diagnostics)) from None


def _placed(bound: BoundRecipe, diagnostic: Diagnostic) -> Diagnostic:
    if diagnostic.where is not None or not diagnostic.key:
        return diagnostic
    key, _, value = diagnostic.key.partition(" ")
    source = bound.parsed.source
    where = source.place(source.holding(tuple(key.split(".")), value), "value")
    return replace(diagnostic, where=where)

"""Compare two recipes key by key, as they are resolved, with the place of each key."""

from collections.abc import Mapping
from typing import Any

from titrant.schema.difference import Difference, Path, places
from titrant.schema.recipe.value import recipe_value, written
from titrant.schema.source import ParsedRecipe
from titrant.schema.spans import dotted


def compare_recipes(old: ParsedRecipe, new: ParsedRecipe) -> tuple[Difference, ...]:
    """List the keys in which two recipes differ, defaults filled in; empty where they ask for the same.

    Values are as written in the text ("5 ms"); a default is in seconds, in bytes, or as it is. A key that stands in no
    text has no place.
    """
    return tuple(
        Difference(
            "recipe",
            dotted(path),
            _value(left, old, path),
            _value(right, new, path),
            _where(old, path),
            _where(new, path),
        )
        for path, left, right in places(recipe_value(old.recipe), recipe_value(new.recipe))
    )


def _value(value: Any, recipe: ParsedRecipe, path: Path) -> Any:
    """Return a value as the recipe's text has it; as resolved where the text leaves it to a default."""
    found: Any = written(recipe.recipe)
    for part in path:
        listed = isinstance(found, list) and isinstance(part, int) and part < len(found)
        if not listed and not (isinstance(found, Mapping) and part in found):
            return value
        found = found[part]
    return value if value is None else found


def _where(recipe: ParsedRecipe, path: Path) -> str:
    """Return the place of a key; of its nearest parent for what a short form of a list entry stands for."""
    inside = any(isinstance(part, int) for part in path) and recipe.source.has(path[:1])
    return str(recipe.source.place(path)) if inside or recipe.source.has(path) else ""

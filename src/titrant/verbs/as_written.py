"""Keep a recipe as its author wrote it, beside the resolved text that a run executes."""

from typing import Any

from titrant.schema.source import ParsedRecipe

_BASE_RANK = 1  # of a text that a recipe extends, see titrant.schema.spans.Origin


def as_written(recipe: ParsedRecipe) -> dict[str, Any]:
    """Return {"text"}, with {"base": {"file", "text"}} where the recipe extends one, {"overrides"} where it has any.

    Both are as they were read; who keeps them takes secrets out.
    """
    found: dict[str, Any] = {"text": recipe.text}
    if recipe.recipe.extends:
        places = [recipe.source.origin(path) for path in recipe.source.paths()]
        base = next((origin for origin in places if origin.rank == _BASE_RANK), None)
        if base is not None:
            found["base"] = {"file": base.file, "text": "\n".join(base.lines)}
    if recipe.overrides:
        found["overrides"] = list(recipe.overrides)
    return found

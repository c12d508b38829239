"""The recipe language as JSON Schema, for completion and hover in editors."""

from typing import Any

from titrant.schema.recipe import LANGUAGE, Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a recipe, every key with its description, range and default.

    It checks each key by itself; what ties keys together is checked by `titrant check`. JSON does not tell `8.0` and
    `-0.0` from `8` and `0`, so these too are left to `titrant check`, where a whole number is due.
    """
    schema: dict[str, Any] = _without_null(Recipe.model_json_schema(by_alias=True))
    schema["properties"]["titrant"]["const"] = LANGUAGE
    schema["$schema"] = DIALECT
    schema["title"] = "titrant recipe"
    return schema


def _without_null(value: Any) -> Any:
    """Take `null` out: in a recipe an option that has no value is not written, or written `none`."""
    if isinstance(value, list):
        return [_without_null(item) for item in value if item != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_null(item) for key, item in value.items() if not (key == "default" and item is None)}
    if len(alternatives := kept.get("anyOf", [])) == 1:
        del kept["anyOf"]
        kept = {**alternatives[0], **kept}
    return kept

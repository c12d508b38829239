"""List the operators, show the page of one, and write the recipe language as JSON Schema."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class OperatorRow:
    """An operator: its name, on which kinds of devices the project's own checks run it, and what it does."""

    name: str
    verified: tuple[str, ...]
    summary: str


def operators() -> tuple[OperatorRow, ...]:
    """List every operator."""
    from titrant.runtime import catalog

    every = map(catalog.get, catalog.names())
    return tuple(OperatorRow(item.name, item.verified, item.doc.splitlines()[0]) for item in every)


def operator_page(name: str) -> str:
    """Return an operator's page: what it does, its parameters and ports; RecipeError names the nearest for a typo."""
    from titrant.runtime import catalog
    from titrant.runtime.operator_pages import page

    require_name(name, catalog.names(), "operator")
    return page(catalog.get(name))


def require_name(name: str, names: tuple[str, ...], noun: str) -> None:
    """Raise RecipeError P004, with the nearest name, for a name that is none of `names`."""
    if name not in names:
        from titrant.schema.language.nearest import nearest

        near = nearest(name, names)
        help_text = f"did you mean '{near}'?" if near else f"there are: {', '.join(names)}"
        raise RecipeError(Diagnostic("P004", f"there is no {noun} '{name}'", help=help_text))


LATER = "later: not available in this version"


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe as this version has it: what a later one brings says so."""
    from titrant.compiler.bind.availability import does_nothing_yet, later_keys
    from titrant.schema.language import expected

    schema = expected.recipe_schema()
    for pattern in later_keys():
        for place in _places(schema, schema, pattern):
            place["description"] = f"{place.get('description', '')} ({LATER})".lstrip()
            if does_nothing_yet(pattern, place.get("default")):
                del place["default"]
    return schema


def _places(schema: Mapping[str, Any], node: Any, path: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what a schema says of a key, under each alternative; `*` stands for every name or place."""
    if not isinstance(node, dict):
        return
    if not path:
        yield node
        return
    for alternative in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        yield from _places(schema, alternative, path)
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        yield from _places(schema, schema["$defs"][name], path)
    first, *rest = path
    inner = [node.get("items"), node.get("additionalProperties")] if first == "*" else []
    for child in (*inner, node.get("properties", {}).get(first)):
        yield from _places(schema, child, rest)

"""Tell which texts say something at a path of a recipe: the base, the recipe itself, the flags."""

from collections.abc import Iterator
from typing import Any, Literal

from titrant.schema.compose import Branch, Items, Node, compose, plain_value
from titrant.schema.diagnostics import Place
from titrant.schema.extends import base_of
from titrant.schema.frozen import dataclass
from titrant.schema.intake import split_lines
from titrant.schema.overrides import FLAG
from titrant.schema.source import ParsedRecipe
from titrant.schema.source_map import Path, SourceMap
from titrant.schema.spans import Origin


@dataclass(frozen=True)
class Saying:
    """What one text says at a path: its value as JSON types, and where it stands."""

    by: Literal["base", "recipe", "flag"]
    value: Any
    place: Place


def sayings(parsed: ParsedRecipe, path: Path) -> tuple[Saying, ...]:
    """List what the texts say at a path, the one that counts last; () where none says anything."""
    return tuple(_sayings(parsed, path))


def _sayings(parsed: ParsedRecipe, path: Path) -> Iterator[Saying]:
    origin = Origin(parsed.file, parsed.folder, split_lines(parsed.text))
    own, _ = compose(parsed.text, origin)
    if not isinstance(own, Branch):
        return
    base, _ = base_of(own, origin)
    layers: tuple[tuple[Literal["base", "recipe"], Branch | None], ...] = (("base", base), ("recipe", own))
    for by, root in layers:
        if root is not None and (found := node_at(root, path)) is not None:
            yield Saying(by, plain_value(found), SourceMap(root).place(path))
    found = node_at(parsed.source.root, path)
    if found is not None and parsed.source.file(path) == FLAG:
        yield Saying("flag", plain_value(found), parsed.source.place(path))


def node_at(root: Node, path: Path) -> Node | None:
    """Return the node at a path, or None where there is none."""
    node = root
    for part in path:
        if isinstance(node, Branch) and isinstance(part, str) and part in node.entries:
            node = node.entries[part].node
        elif isinstance(node, Items) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            return None
    return node


def leaves(parsed: ParsedRecipe, path: Path) -> list[Path]:
    """List the paths of the single values that stand at or below a path, in the order of the text."""
    found = []
    for one in parsed.source.paths():
        if one[: len(path)] == path and not isinstance(node_at(parsed.source.root, one), (Branch, Items)):
            found.append(one)
    return found

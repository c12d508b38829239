"""Find the place in the text of every path of a recipe."""

from collections.abc import Iterator
from pathlib import Path as Folder
from typing import Literal

from titrant.schema.diagnostics.diagnostics import Place
from titrant.schema.language.spans import KeyPath, Origin, Span, dotted
from titrant.schema.language.yaml_tree import Branch, Entry, Items, Leaf, Node
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class SourceMap:
    """A recipe's tree with the places of its keys and values, after `extends` and `--set`."""

    root: Branch

    def place(self, path: KeyPath, part: Literal["key", "value"] = "key") -> Place:
        """Return where a path's key or value stands; for one that is not in the text, its nearest parent's key.

        An entry of a list has no key of its own: its value's place is given.
        """
        entry, depth = self._find(path)
        span = entry.key if part == "key" or depth < len(path) else entry.node.span
        return span.place(dotted(path))

    def has(self, path: KeyPath) -> bool:
        """Whether a path stands in the text, the base's text, or a flag."""
        return self._find(path)[1] == len(path)

    def folder(self, path: KeyPath) -> Folder:
        """Return the folder that relative paths start from at a path: the base's for a value of the base."""
        return self._find(path)[0].node.span.origin.folder

    def file(self, path: KeyPath) -> str:
        """Return the file, or "--set", that a path's value stands in."""
        return self._find(path)[0].node.span.origin.file

    def origin(self, path: KeyPath) -> Origin:
        """Return the text that a path's value stands in."""
        return self._find(path)[0].node.span.origin

    def paths(self) -> Iterator[KeyPath]:
        """List every path that stands in the text, in order."""
        pending: list[tuple[KeyPath, Node]] = [((), self.root)]
        while pending:
            path, node = pending.pop()
            if path:
                yield path
            pending += [((*path, part), entry.node) for part, entry in reversed(_parts(node))]

    def holding(self, path: KeyPath, value: str) -> KeyPath:
        """Return the first path at or below `path` whose value is this text; `path` itself where none is."""
        entry, depth = self._find(path)
        pending: list[tuple[KeyPath, Node]] = [(path, entry.node)] if value and depth == len(path) else []
        while pending:
            place, node = pending.pop()
            if isinstance(node, Leaf) and node.text == value:
                return place
            pending += [((*place, part), inner.node) for part, inner in reversed(_parts(node))]
        return path

    def _find(self, path: KeyPath) -> tuple[Entry, int]:
        """Walk down as far as the text goes; return the last entry and how many parts of the path it took."""
        entry = Entry(_first(self.root), self.root)
        for depth, part in enumerate(path):
            inner = _entry(entry.node, part)
            if inner is None:
                return entry, depth
            entry = inner
        return entry, len(path)


def _entry(node: Node, part: str | int) -> Entry | None:
    if isinstance(node, Branch) and isinstance(part, str):
        return node.entries.get(part)
    if isinstance(node, Items) and isinstance(part, int) and 0 <= part < len(node.items):
        return Entry(node.items[part].span, node.items[part])
    return None


def _parts(node: Node) -> list[tuple[str | int, Entry]]:
    if isinstance(node, Branch):
        return list(node.entries.items())
    if isinstance(node, Items):
        return [(index, Entry(item.span, item)) for index, item in enumerate(node.items)]
    return []


def _first(root: Branch) -> Span:
    return next(iter(root.entries.values())).key if root.entries else root.span

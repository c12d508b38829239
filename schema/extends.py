"""Lay a recipe over the one that it extends, each value keeping its own place."""

from titrant.schema.compose import Branch, Entry, Leaf, Node
from titrant.schema.expected import Path, expected, words


def extend(child: Branch, base: Branch, path: Path = ()) -> Branch:
    """Merge two mappings: inner mappings deeply, lists and scalars replaced, `none` removes what the base has.

    Where `none` is itself a value of a key (a preset of the contract, `quantization.method`), it stands.
    """
    entries = dict(base.entries)
    for key, entry in child.entries.items():
        below = (*path, key)
        earlier = base.entries.get(key)
        if earlier is not None and _removes(entry.node, below):
            del entries[key]
        elif earlier is not None and isinstance(entry.node, Branch) and isinstance(earlier.node, Branch):
            entries[key] = Entry(entry.key, extend(entry.node, earlier.node, below))
        else:
            entries[key] = entry
    return Branch(child.span, entries)


def _removes(node: Node, path: Path) -> bool:
    return isinstance(node, Leaf) and node.value == "none" and "none" not in words(expected(path))

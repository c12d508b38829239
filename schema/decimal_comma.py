"""Find numbers with a decimal comma between braces, where a comma ends an entry in YAML."""

import re
from dataclasses import replace

from titrant.schema.compose import Branch, Entry, Items, Leaf, Node
from titrant.schema.diagnostics import Diagnostic
from titrant.schema.spans import Span, dotted

_TOGETHER = re.compile(r"[0-9],[0-9]")


def refuse_decimal_commas(root: Branch, text: str, found: list[Diagnostic]) -> Branch:
    """Return the tree with each `{p95: 5,5 ms}` as the one entry that was meant, refused with one finding.

    YAML reads it as `p95: 5` and a key `5 ms` without a value, which would be two mistakes where a person made one.
    """
    if not _TOGETHER.search(text):
        return root
    joined = _joined(root, (), found)
    assert isinstance(joined, Branch)
    return joined


def _joined(node: Node, path: tuple[str | int, ...], found: list[Diagnostic]) -> Node:
    if isinstance(node, Items):
        return Items(node.span, [_joined(item, (*path, place), found) for place, item in enumerate(node.items)])
    if isinstance(node, Leaf):
        return node
    entries: dict[str, Entry] = {}
    last = ""
    for key, entry in node.entries.items():
        before = entries.get(last)
        if before is not None and _goes_on(before.node, key, entry):
            entries[last] = Entry(before.key, _refused(before.node, key, entry, (*path, last), found))
        else:
            entries[key] = Entry(entry.key, _joined(entry.node, (*path, key), found))
            last = key
    return Branch(node.span, entries)


def _goes_on(before: Node, key: str, entry: Entry) -> bool:
    """Whether a key without a value is what follows the comma of a number."""
    if not (isinstance(before, Leaf) and before.plain and before.text.isdecimal() and key[:1].isdecimal()):
        return False
    alone = isinstance(entry.node, Leaf) and entry.node.plain and entry.node.text == ""
    return alone and (before.span.end_line, before.span.end_column + 1) == (entry.key.line, entry.key.column)


def _refused(before: Node, key: str, entry: Entry, path: tuple[str | int, ...], found: list[Diagnostic]) -> Leaf:
    assert isinstance(before, Leaf)
    start, end = before.span, entry.key
    whole = Span(start.origin, start.line, start.column, end.end_line, end.end_column)
    message = f"a comma between braces ends the entry: this reads as `{before.text}` and a key `{key}`"
    advice = f"the decimal sign is a point: write `{before.text}.{key}`"
    found.append(Diagnostic("R005", message, whole.place(dotted(path)), advice))
    return replace(before, span=whole, text=f"{before.text},{key}", refused=True)

"""Lay a recipe over the one that it extends, and `--set a.b=v` over both, each value keeping its own place.

A flag's value is typed as YAML, and errors about it point at the flag.
"""

import re
from collections.abc import Mapping
from pathlib import Path as Folder

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.expected import expected, words
from titrant.schema.language.spans import KeyPath, Origin, Span, dotted
from titrant.schema.language.yaml_source import check_text, read_text, split_lines
from titrant.schema.language.yaml_tree import Branch, Entry, Items, Leaf, Node, compose


def extend(child: Branch, base: Branch, path: KeyPath = ()) -> Branch:
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


def _removes(node: Node, path: KeyPath) -> bool:
    return isinstance(node, Leaf) and node.value == "none" and "none" not in words(expected(path))


def base_of(child: Branch, origin: Origin) -> tuple[Branch | None, list[Diagnostic]]:
    """Read the recipe that `extends` names, one level deep, with what is wrong with it.

    None without `extends`, or where it is not text (its own mistake is found later).
    """
    entry = child.entries.get("extends")
    if entry is None or not isinstance(entry.node, Leaf) or not isinstance(entry.node.value, str):
        return None, []
    name, place = entry.node.value, entry.node.span.place("extends")
    if name in ("", "none"):
        return None, []
    path, file = origin.folder / name, str(Folder(origin.file).parent / name)
    if str(path) == origin.file or (path.exists() and Folder(origin.file).exists() and path.samefile(origin.file)):
        return None, [Diagnostic("R023", "a recipe cannot extend itself", place, "name another recipe")]
    try:
        text = read_text(path, file)
        check_text(text, file)
    except RecipeError as error:
        return None, [
            Diagnostic("R023", cause.message, cause.where or place, cause.help) for cause in error.diagnostics
        ]
    base, diagnostics = compose(text, Origin(file, path.parent, split_lines(text), rank=1))
    if not isinstance(base, Branch):
        return None, diagnostics or [
            Diagnostic("R023", f"{file} holds no recipe", place, "name a recipe that has keys")
        ]
    if (deeper := base.entries.get("extends")) is not None:
        message = f"{file} extends another recipe itself, and only one level is allowed"
        advice = "extend that recipe directly, or write its values into this base"
        diagnostics.append(Diagnostic("R023", message, deeper.key.place("extends"), advice))
        base = Branch(base.span, {key: value for key, value in base.entries.items() if key != "extends"})
    return base, diagnostics


FLAG = "--set"
# What says how the text is read cannot be changed by a flag → what to do instead.
_FIXED: Mapping[str | int, str] = {
    "extends": "make a recipe that extends it",
    "titrant": "the version of the language stands in the recipe; `titrant migrate` rewrites an older one",
}
# One part of a path: a name, a name in quotes (which may hold dots), or a position in a list.
_PART = re.compile(r'(?:^|\.)(?:"([^"]+)"|([^."\[\]=\s]+))|\[(\d{1,6})\]|^$')
_PATH = re.compile(r'((?:"[^"]*"|[^"=])*)=')


def apply(root: Branch, overrides: tuple[str, ...], folder: Folder) -> tuple[Branch, list[Diagnostic]]:
    """Return the tree with every override in it, later ones winning, and what was wrong with them."""
    diagnostics: list[Diagnostic] = []
    for rank, text in enumerate(overrides):
        try:
            check_text(text, FLAG)
        except RecipeError as error:
            diagnostics += error.diagnostics
            continue
        root = _apply(root, text, folder, rank + 2, diagnostics)
    return root, diagnostics


def _apply(root: Branch, text: str, folder: Folder, rank: int, diagnostics: list[Diagnostic]) -> Branch:
    match = _PATH.match(text)
    whole = Origin(FLAG, folder, (text,), rank)
    if "\n" in text or "\r" in text or not match:
        message = "a flag is one line" if match else "an override is a path, `=` and a value"
        diagnostics.append(_wrong(message, whole, 0, len(text), "such as `--set target.threads=2`"))
        return root
    parts = _parts(match[1], whole)
    if isinstance(parts, Diagnostic):
        diagnostics.append(parts)
        return root
    path = tuple(part for part, _ in parts)
    if path[0] in _FIXED:
        diagnostics.append(_wrong(f"`{path[0]}` cannot be overridden", whole, 0, len(match[1]), _FIXED[path[0]]))
        return root
    start = match.end()
    # Spaces in place of the path leave every column of the value where it stands in the flag.
    node, inner = compose(" " * start + text[start:], whole)
    diagnostics += inner
    if node is None:
        if not inner:
            diagnostics.append(
                _wrong(f"`{dotted(path)}` is given no value", whole, start - 1, start, "write it after the `=`")
            )
        return root
    changed = _put(root, parts, node, path)
    if isinstance(changed, Diagnostic):
        diagnostics.append(changed)
        return root
    return changed


def _parts(text: str, whole: Origin) -> list[tuple[str | int, Span]] | Diagnostic:
    parts: list[tuple[str | int, Span]] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position) if position else re.match(r'(?:"([^"]+)"|([^."\[\]=\s]+))', text)
        if not match or match.end() == position:
            return _wrong("this is not a path", whole, 0, len(text), "such as `target.threads` or `export[0].format`")
        groups = match.groups()
        part: str | int = int(groups[2]) if len(groups) > 2 and groups[2] else groups[0] or groups[1]
        begin = match.start() + (1 if match[0].startswith(".") else 0)
        parts.append((part, Span(whole, 0, begin, 0, match.end())))
        position = match.end()
    return parts or _wrong("this flag names no key", whole, 0, max(len(text), 1), "such as `--set target.threads=2`")


def _put(node: Node | None, parts: list[tuple[str | int, Span]], value: Node, path: KeyPath) -> Branch | Diagnostic:
    """Return a mapping that has `value` at the path and is otherwise as before."""
    changed = _inside(node, parts, value, path, 0)
    assert not isinstance(changed, (Leaf, Items))
    return changed


def _inside(
    node: Node | None, parts: list[tuple[str | int, Span]], value: Node, path: KeyPath, depth: int
) -> Node | Diagnostic:
    if depth == len(parts):
        return value
    part, span = parts[depth]
    if isinstance(part, int):
        return _in_list(node, parts, value, path, depth)
    if isinstance(node, Items) or (isinstance(node, Leaf) and node.value is not None):
        kind = "a list" if isinstance(node, Items) else "a single value"
        advice = "name an entry by its position, such as `[0]`" if isinstance(node, Items) else "override it as a whole"
        return _at(f"`{dotted(path[:depth])}` is {kind} and has no key `{part}`", span, advice, path)
    entries = dict(node.entries) if isinstance(node, Branch) else {}
    earlier = entries.get(part)
    inner = _inside(earlier.node if earlier else None, parts, value, path, depth + 1)
    if isinstance(inner, Diagnostic):
        return inner
    key = span if depth == len(parts) - 1 or earlier is None else earlier.key
    entries[part] = Entry(key, inner)
    return Branch(node.span if isinstance(node, Branch) else span, entries)


def _in_list(
    node: Node | None, parts: list[tuple[str | int, Span]], value: Node, path: KeyPath, depth: int
) -> Node | Diagnostic:
    part, span = parts[depth]
    assert isinstance(part, int)
    if not isinstance(node, Items):
        return _at(f"`{dotted(path[:depth])}` is not a list in the recipe", span, "override it as a whole", path)
    if part >= len(node.items):
        count = len(node.items)
        return _at(f"there is no entry {part}: the list has {count}, counted from 0", span, "override the list", path)
    inner = _inside(node.items[part], parts, value, path, depth + 1)
    if isinstance(inner, Diagnostic):
        return inner
    return Items(node.span, [*node.items[:part], inner, *node.items[part + 1 :]])


def _wrong(message: str, whole: Origin, begin: int, end: int, advice: str) -> Diagnostic:
    return Diagnostic("R024", message, Span(whole, 0, begin, 0, end).place(), advice)


def _at(message: str, span: Span, advice: str, path: KeyPath) -> Diagnostic:
    return Diagnostic("R024", message, span.place(dotted(path)), advice)

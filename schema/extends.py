"""Lay a recipe over the one that it extends, each value keeping its own place."""

from pathlib import Path as Folder

from titrant.schema.compose import Branch, Entry, Leaf, Node, compose
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.expected import Path, expected, words
from titrant.schema.intake import check_text, read_text, split_lines
from titrant.schema.spans import Origin


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
        return None, [Diagnostic("R023", one.message, one.where or place, one.help) for one in error.diagnostics]
    base, found = compose(text, Origin(file, path.parent, split_lines(text), rank=1))
    if not isinstance(base, Branch):
        return None, found or [Diagnostic("R023", f"{file} holds no recipe", place, "name a recipe that has keys")]
    if (deeper := base.entries.get("extends")) is not None:
        message = f"{file} extends another recipe itself, and only one level is allowed"
        advice = "extend that recipe directly, or write its values into this base"
        found.append(Diagnostic("R023", message, deeper.key.place("extends"), advice))
        base = Branch(base.span, {key: value for key, value in base.entries.items() if key != "extends"})
    return base, found

"""Read a configuration as recipes are read, and write one into a text whose comments stay."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

from titrant.schema.compose import Branch, Items, Node, compose, plain_value
from titrant.schema.diagnostics import RecipeError
from titrant.schema.intake import check_text, hidden, split_lines
from titrant.schema.scalars import resolve
from titrant.schema.spans import Origin
from titrant.schema.write import dump, seen


def read_yaml(text: str, file: str) -> tuple[Any, Node | None]:
    """Return a YAML text as JSON types, and its tree with the place of everything.

    Read as a recipe is: YAML 1.2 scalars, no anchors, tags or duplicate keys. Escapes such as `"\\e"` are taken, since
    they can be seen. None for an empty text. Raises RecipeError with every mistake found.
    """
    check_text(text, file)
    root, found = compose(text, Origin(file, Path(file).parent, split_lines(text)))
    wrong = [one for one in found if one.code != "R004"]
    if wrong:
        raise RecipeError(*wrong)
    return (None if root is None else json_types(plain_value(root))), root


def json_types(value: Any) -> Any:
    """Turn the tuples of a tree's value into lists."""
    if isinstance(value, dict):
        return {key: json_types(item) for key, item in value.items()}
    return [json_types(item) for item in value] if isinstance(value, (list, tuple)) else value


def merge_yaml(text: str, value: dict[str, Any], file: str) -> str | None:
    """Put a mapping in place of a text's own, keeping the comments, order and quoting of what is still there.

    None where the text is not a mapping, or where its layout cannot hold the value. Raises RecipeError for a text that
    is no YAML.
    """
    from ruamel.yaml.error import YAMLError

    present, root = read_yaml(text, file)
    if not isinstance(present, dict) or not isinstance(root, Branch):
        return None
    if present == value and _same_kinds(present, value):
        return text
    if "\r\n" in text:
        merged = merge_yaml(text.replace("\r\n", "\n"), value, file)
        return None if merged is None else merged.replace("\n", "\r\n")
    writer = _writer(root)
    out = StringIO()
    try:
        tree = writer.load(text)
        _merge(tree, present, value)
        writer.dump(tree, out)
        merged = seen(out.getvalue())
        again, _ = read_yaml(merged, file)
    except (YAMLError, ValueError, RecipeError):
        return None
    return merged if again == value and _same_kinds(again, value) else None


def _writer(root: Branch) -> Any:
    """Make a writer of ruamel's that keeps plain text as it stands: what it means is the reader's business."""
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import ScalarNode
    from ruamel.yaml.resolver import VersionedResolver

    class Verbatim(VersionedResolver):
        """Takes every plain scalar but an empty one for text."""

        def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
            """Return the tag of a node."""
            if kind is ScalarNode and value != "":
                return self.DEFAULT_SCALAR_TAG
            return super().resolve(kind, value, implicit)

    writer = YAML(typ="rt")
    writer.Resolver = Verbatim
    writer.preserve_quotes = True
    writer.width = 1000
    writer.brace_single_entry_mapping_in_flow_sequence = True
    mapping, offset = _indents(root)
    writer.indent(mapping=mapping, sequence=offset + 2, offset=offset)
    return writer


def _indents(root: Branch) -> tuple[int, int]:
    """Return by how many columns the text indents its first inner mapping, and the dashes of its first list."""
    mapping = offset = None
    pending: list[Branch] = [root]
    while pending and (mapping is None or offset is None):
        branch = pending.pop(0)
        for entry in branch.entries.values():
            by = entry.node.span.column - entry.key.column
            if entry.node.span.line == entry.key.line:
                continue
            if isinstance(entry.node, Branch):
                mapping = by if mapping is None else mapping
                pending.append(entry.node)
            elif isinstance(entry.node, Items):
                offset = by if offset is None else offset
    return mapping or 2, 2 if offset is None else offset


def _merge(tree: Any, present: Any, value: Any) -> None:
    """Change a tree of ruamel's from `present` to `value`, touching only what differs."""
    if isinstance(value, dict):
        for key in [key for key in present if key not in value]:
            del tree[key]
        for key, item in value.items():
            if key not in present:
                tree[key] = _written(item)
            else:
                _change(tree, key, present[key], item)
        return
    del tree[len(value) :]
    for index, item in enumerate(value):
        if index < len(present):
            _change(tree, index, present[index], item)
        else:
            tree.append(_written(item))


def _change(tree: Any, key: str | int, present: Any, item: Any) -> None:
    inner = tree[key]
    alike = (isinstance(present, dict) and isinstance(item, dict)) or (
        isinstance(present, list) and isinstance(item, list) and bool(present) and bool(item)
    )
    if alike:
        _merge(inner, present, item)
    elif present != item or not _same_kinds(present, item):
        tree[key] = _in_style(_written(item), inner)


def _written(value: Any) -> Any:
    """Return JSON types with every scalar as the text that a reader of recipes takes for it."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, PlainScalarString

    if isinstance(value, dict):
        return {_written(key): _written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_written(item) for item in value]
    if isinstance(value, str):
        return DoubleQuotedScalarString(value) if _quoted(value) else value
    return PlainScalarString(dump(value).partition("\n")[0])


def _in_style(value: Any, earlier: Any) -> Any:
    """Return a text in the quotes of the one whose place it takes; a block of lines becomes plain."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, PlainScalarString, SingleQuotedScalarString

    if type(value) is str and not isinstance(earlier, DoubleQuotedScalarString | SingleQuotedScalarString):
        return PlainScalarString(value)
    return value


def _quoted(text: str) -> bool:
    return not isinstance(resolve(text), str) or text == "<<" or "\n" in text or bool(hidden(text))


def _same_kinds(one: Any, other: Any) -> bool:
    """Whether two equal values are equal as JSON too: `1`, `1.0` and `true` differ."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

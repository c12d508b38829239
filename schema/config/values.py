"""Turn configuration objects into plain JSON types, read JSON and YAML strictly, and change YAML, comments kept."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from enum import Enum
from io import StringIO
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import PydanticSerializationError

from titrant.schema.config.secrets import REDACTED
from titrant.schema.diagnostics.diagnostics import Diagnostic, Place, RecipeError
from titrant.schema.language.spans import KeyPath, Origin, dotted
from titrant.schema.language.write import dump, seen
from titrant.schema.language.yaml_source import check_text, hidden, split_lines
from titrant.schema.language.yaml_tree import Branch, Items, Node, compose, plain_value, resolve

MOST_LEVELS = 50
MOST_DIGITS = 40  # a longer number is text to a reader of recipes


def plain(value: object, path: KeyPath = ()) -> Any:
    """Return a value as JSON types: mappings with text keys, lists, text, numbers, truth values, None.

    Takes pydantic models (by alias), dataclasses, mappings, lists, tuples, sets (sorted), enumerations (their value),
    paths, dates, UUIDs and NumPy scalars, inside each other. Pydantic's secrets are redacted. Raises RecipeError
    (R030), naming the path such as `model.layers[2].callback`, for anything else.
    """
    return _plain(value, path, ())


def _plain(value: object, path: KeyPath, above: tuple[int, ...]) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return _number(value, path)
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, (SecretStr, SecretBytes)):
        return REDACTED if value.get_secret_value() else ""
    if isinstance(value, (PurePath, UUID)):
        return _text(str(value), path)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return _plain(value.item(), path, above)  # type: ignore[attr-defined]
    if id(value) in above:
        raise unwritable(path, "it holds itself, so that it would never end", "leave the inner one out")
    if len(above) >= MOST_LEVELS:
        raise unwritable(path, f"more than {MOST_LEVELS} levels lie inside each other", "make it flatter")
    return _container(value, path, (*above, id(value)))


def _container(value: object, path: KeyPath, above: tuple[int, ...]) -> Any:
    if isinstance(value, BaseModel):
        return _mapping(_dumped(value, path), path, above)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _mapping({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, path, above)
    if isinstance(value, Mapping):
        return _mapping(value, path, above)
    if isinstance(value, (list, tuple)):
        return _items(value, path, above)
    if isinstance(value, (set, frozenset)):
        return sorted(_items(value, path, above), key=json.dumps)
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    advice = "leave it out, or write what makes it: a name, a path, its numbers"
    raise unwritable(path, f"JSON and YAML have no {name}", advice)


def _dumped(value: BaseModel, path: KeyPath) -> Mapping[str, Any]:
    """Dump a model with its own serializers; what it cannot turn into anything stays as it is."""
    try:
        return value.model_dump(by_alias=True, round_trip=True, warnings=False)
    except (PydanticSerializationError, ValueError) as error:
        raise unwritable(path, str(error).partition("\n")[0], "mend the model's serializer") from None


def _mapping(value: Mapping[Any, Any], path: KeyPath, above: tuple[int, ...]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for key, item in value.items():
        text = key.value if isinstance(key, Enum) else key
        if not isinstance(text, str):
            raise unwritable((*path, str(key)), f"the key `{key!r}` is not text", "write the key as text")
        if sign := hidden(text):
            raise unwritable((*path, text), f"the key holds {sign}", "name it otherwise")
        entries[text] = _plain(item, (*path, text), above)
    return entries


def _items(value: Iterable[Any], path: KeyPath, above: tuple[int, ...]) -> list[Any]:
    return [_plain(item, (*path, index), above) for index, item in enumerate(value)]


def _number(value: int | float, path: KeyPath) -> int | float:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise unwritable(path, f"JSON has no {value}", "write none, or a number that means it")
        return float(value)
    if abs(value) >= 10**MOST_DIGITS:
        raise unwritable(path, f"the number has more than {MOST_DIGITS} digits", "write it as text")
    return int(value)


def _text(value: str, path: KeyPath) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        message = f"the text holds half a character (U+{ord(value[error.start]):04X})"
        raise unwritable(path, message, "decode the bytes that it came from as UTF-8") from None
    return str(value)


def unwritable(path: KeyPath, message: str, advice: str) -> RecipeError:
    """Make the error about one place of a configuration."""
    key = shown(dotted(path))
    return RecipeError(Diagnostic("R030", f"{key or 'the value'} cannot be written: {message}", help=advice, key=key))


def shown(text: str) -> str:
    """Write a path or key for a message: visible, and not too long."""
    visible = "".join(sign if sign.isprintable() else "·" for sign in text)
    return visible if len(visible) <= 200 else f"{visible[:199]}…"


def read_yaml(text: str, file: str) -> tuple[Any, Node | None]:
    """Return a YAML text as JSON types, and its tree with the place of everything.

    Read as a recipe is: YAML 1.2 scalars, no anchors, tags or duplicate keys. Escapes such as `"\\e"` are taken, since
    they can be seen. None for an empty text. Raises RecipeError with every mistake found.
    """
    check_text(text, file)
    root, diagnostics = compose(text, Origin(file, Path(file).parent, split_lines(text)))
    wrong = [diagnostic for diagnostic in diagnostics if diagnostic.code != "R004"]
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


def _same_kinds(left: Any, right: Any) -> bool:
    """Whether two equal values are equal as JSON too: `1`, `1.0` and `true` differ."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def read_json(text: str, file: str) -> Any:
    """Return a JSON text's value; RecipeError for what is no JSON.

    Refused too: duplicate keys (R007), numbers that cannot be held (`1e999`, `NaN`, more than 40 digits), half
    characters and levels without end (R031).
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=lambda pairs: _once(pairs, file),
            parse_constant=_no_constant,
            parse_int=_whole_number,
            parse_float=_fraction,
        )
        _check_characters(text, value)
    except json.JSONDecodeError as error:
        lines = split_lines(text)
        line = lines[min(error.lineno, len(lines)) - 1]
        place = Place(file, error.lineno, error.colno, 1, line)
        message = f"this is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise RecipeError(Diagnostic("R031", message, place, "look for a missing quote, comma or bracket")) from None
    except (RecursionError, ValueError) as error:
        what = "too many levels lie inside each other" if isinstance(error, RecursionError) else str(error)
        raise RecipeError(Diagnostic("R031", f"{file} cannot be read: {what}", help="mend the file")) from None
    return value


def _once(pairs: list[tuple[str, Any]], file: str) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise RecipeError(Diagnostic("R007", f"`{twice[:40]}` stands twice in one mapping of {file}", help="keep one"))
    return entries


def _no_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


def _whole_number(digits: str) -> int:
    if len(digits.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"a number in it has more than {MOST_DIGITS} digits")
    return int(digits)


def _fraction(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"`{digits[:40]}` is too large a number to hold")
    return number


def _check_characters(text: str, value: Any) -> None:
    """Raise ValueError for an escape that is half a character: nothing could write it again."""
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(error.object[error.start]):04X}"
            raise ValueError(f"a text in it holds half a character ({half})") from None

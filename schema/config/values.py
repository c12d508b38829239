"""Turn a configuration object into plain JSON types, or name the place that cannot be written."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import PydanticSerializationError

from titrant.schema.config.secrets import REDACTED
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.intake import hidden
from titrant.schema.spans import dotted

MOST_LEVELS = 50
MOST_DIGITS = 40  # a longer number is text to a reader of recipes
Path = tuple[str | int, ...]


def plain(value: object, path: Path = ()) -> Any:
    """Return a value as JSON types: mappings with text keys, lists, text, numbers, truth values, None.

    Takes pydantic models (by alias), dataclasses, mappings, lists, tuples, sets (sorted), enumerations (their value),
    paths, dates, UUIDs and NumPy scalars, inside each other. Pydantic's secrets are redacted. Raises RecipeError
    (R030), naming the path such as `model.layers[2].callback`, for anything else.
    """
    return _plain(value, path, ())


def _plain(value: object, path: Path, above: tuple[int, ...]) -> Any:
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


def _container(value: object, path: Path, above: tuple[int, ...]) -> Any:
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


def _dumped(value: BaseModel, path: Path) -> Mapping[str, Any]:
    """Dump a model with its own serializers; what it cannot turn into anything stays as it is."""
    try:
        return value.model_dump(by_alias=True, round_trip=True, warnings=False)
    except (PydanticSerializationError, ValueError) as error:
        raise unwritable(path, str(error).partition("\n")[0], "mend the model's serializer") from None


def _mapping(value: Mapping[Any, Any], path: Path, above: tuple[int, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        text = key.value if isinstance(key, Enum) else key
        if not isinstance(text, str):
            raise unwritable((*path, str(key)), f"the key `{key!r}` is not text", "write the key as text")
        if sign := hidden(text):
            raise unwritable((*path, text), f"the key holds {sign}", "name it otherwise")
        found[text] = _plain(item, (*path, text), above)
    return found


def _items(value: Iterable[Any], path: Path, above: tuple[int, ...]) -> list[Any]:
    return [_plain(item, (*path, index), above) for index, item in enumerate(value)]


def _number(value: int | float, path: Path) -> int | float:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise unwritable(path, f"JSON has no {value}", "write none, or a number that means it")
        return float(value)
    if abs(value) >= 10**MOST_DIGITS:
        raise unwritable(path, f"the number has more than {MOST_DIGITS} digits", "write it as text")
    return int(value)


def _text(value: str, path: Path) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        message = f"the text holds half a character (U+{ord(value[error.start]):04X})"
        raise unwritable(path, message, "decode the bytes that it came from as UTF-8") from None
    return str(value)


def unwritable(path: Path, message: str, advice: str) -> RecipeError:
    """Make the error about one place of a configuration."""
    key = shown(dotted(path))
    return RecipeError(Diagnostic("R030", f"{key or 'the value'} cannot be written: {message}", help=advice, key=key))


def shown(text: str) -> str:
    """Write a path or key for a message: visible, and not too long."""
    visible = "".join(sign if sign.isprintable() else "·" for sign in text)
    return visible if len(visible) <= 200 else f"{visible[:199]}…"

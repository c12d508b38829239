"""Write values as canonical JSON and digest them."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

# What stands in JSON as it is. Most values are one of these, so they are told apart first, by their very type.
_SCALARS = frozenset((str, int, bool, type(None)))
_TEXT = frozenset((str,))
_WRITER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def plain(value: object) -> Any:
    """Turn a value made of dataclasses, mappings, sequences and scalars into JSON types.

    Mapping keys must be text. Raises TypeError, naming the type, for anything else and ValueError for NaN or
    infinity, which JSON cannot hold.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is tuple or kind is list:
        items = cast("list[object]", value)
        return [item if type(item) in _SCALARS else plain(item) for item in items]
    if kind is dict:
        return _mapping(cast("dict[str, object]", value))
    if names := _fields(cast("Any", kind)):
        return {name: plain(getattr(value, name)) for name in names}
    return _rare(value)


def _mapping(value: Mapping[str, object]) -> dict[str, Any]:
    if not _TEXT.issuperset(map(type, value)) and not all(isinstance(key, str) for key in value):
        raise TypeError(f"a key of {value!r} is not text")
    return {key: item if type(item) in _SCALARS else plain(item) for key, item in value.items()}


def _rare(value: object) -> Any:
    """Turn what is not a common type, such as a subclass of one, into JSON types."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be written as JSON")
        return value
    if isinstance(value, (int, str)):
        return value
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {}  # one without fields
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


@cache
def _fields(kind: type) -> tuple[str, ...]:
    """Return the names of a dataclass's fields; () for any other type."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()


def canonical_json(value: object) -> str:
    """Write a value as JSON with sorted keys, no spaces and UTF-8 text: the same value always gives the same bytes."""
    return _WRITER.encode(plain(value))


def sha256(value: object) -> str:
    """Digest a value's canonical JSON with SHA-256, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()

"""Write values as canonical JSON and digest them."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, cast


def plain(value: object) -> Any:
    """Turn a value made of dataclasses, mappings, sequences and scalars into JSON types.

    Mapping keys must be text. Raises TypeError, naming the type, for anything else and ValueError for NaN or
    infinity, which JSON cannot hold.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be written as JSON")
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"a key of {value!r} is not text")
        return {key: plain(item) for key, item in cast("Mapping[str, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def canonical_json(value: object) -> str:
    """Write a value as JSON with sorted keys, no spaces and UTF-8 text: the same value always gives the same bytes."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256(value: object) -> str:
    """Digest a value's canonical JSON with SHA-256, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()

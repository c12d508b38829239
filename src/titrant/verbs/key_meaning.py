"""Say what a key of the recipe language means: its description, what it may hold, its default."""

import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from titrant.schema.expected import describe, expected, fields, words
from titrant.schema.spans import dotted

Keys = tuple[str | int, ...]


def value_text(value: Any) -> str:
    """Write a value as it would stand in one line of a recipe."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def default_text(path: Keys) -> str:
    """Write what the language itself says where nothing is written."""
    info = field_of(path)
    if info is None:
        return "nothing"
    if info.is_required():
        return "nothing; it has no default"
    value = info.get_default(call_default_factory=True)
    if value is None and any(get_args(kind.type) == ("none",) for kind in expected(path)):
        return "nothing (a level may supply it)"
    if isinstance(value, BaseModel) or (isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value)):
        return "the defaults of its keys"
    return f"{value_text(value)} (the default)"


def meaning(path: Keys) -> Iterator[str]:
    """Give the lines that say what a key is for and what may stand there."""
    info = field_of(path)
    if info is not None and info.description:
        yield f"meaning: {info.description}"
    kinds = expected(path)
    plain = tuple(kind for kind in kinds if not fields((kind,)))
    if len(words(plain)) > 6:
        others = tuple(kind for kind in plain if not words((kind,)))
        yield "takes: " + ", ".join([*(f"`{word}`" for word in words(plain)), *([describe(others)] if others else [])])
    elif plain:
        yield f"takes: {describe(plain)}"
    if keys := list(fields(kinds)):
        yield "keys: " + ", ".join(f"`{key}`" for key in keys)


def field_of(path: Keys) -> FieldInfo | None:
    """Return the model field of a path; for an entry of a list or of a free mapping, None."""
    last = path[-1]
    return fields(expected(path[:-1])).get(last) if isinstance(last, str) else None


def later(path: Keys) -> str:
    """Say that a key waits for a later version; "" for one that works."""
    from titrant.compiler.checks.availability import LATER_KEYS, VALUES

    for pattern, harmless in LATER_KEYS.items():
        if len(path) >= len(pattern) and all(
            wanted in ("*", part) for wanted, part in zip(pattern, path, strict=False)
        ):
            other = [value_text(value) for value in harmless if not isinstance(value, tuple)]
            beside = f", other than {' or '.join(f'`{one}`' for one in other)}" if other else ""
            return f"`{dotted(path[: len(pattern)])}` is not available in this version{beside}"
    values = VALUES.get(tuple("*" if isinstance(part, int) else str(part) for part in path))
    return "this version has " + ", ".join(f"`{value}`" for value in values) if values else ""

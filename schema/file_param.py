"""Files in a step's parameters: a mapping of a path and the digest that the file had when it was planned."""

from collections.abc import Iterator, Mapping
from typing import Any

from titrant.schema.spans import dotted

_KEYS = {"path", "digest"}


def is_file(value: Any) -> bool:
    """Tell whether a parameter is a file."""
    return isinstance(value, Mapping) and set(value) == _KEYS


def files_in(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield every file inside a value of JSON types, with its place, as `sources.a.csv`."""
    if is_file(value):
        yield dotted(place), value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from files_in(inner, (*place, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from files_in(inner, (*place, index))

"""Walk through containers that hold arrays: dict, list, tuple, named tuple and dataclass, at any depth.

torch and optree walk such trees too; the first would have to be loaded for NumPy's arrays, neither looks into
dataclasses that were not registered, and both go round a cycle until the stack ends.
"""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

# Deeper ones would end Python's stack, ours or that of whoever copies or compares them.
DEEPEST = 200


def parts(value: Any) -> list[tuple[str, Any]] | None:
    """List what a container holds, each with how Python reaches it (`['x']`, `[0]`, `.x`); None for anything else.

    Mappings are dict and below, sequences list and below, tuple, and tuples with names; a dataclass is an instance.
    Attributes that are not set are left out.
    """
    if isinstance(value, type):
        return None
    if isinstance(value, dict):
        return [(f"[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, tuple):
        if hasattr(value, "_fields"):
            return [(f".{name}", item) for name, item in zip(value._fields, value, strict=True)]
        plain = type(value) is tuple or _is_struct(value)
        return [(f"[{place}]", item) for place, item in enumerate(value)] if plain else None
    if isinstance(value, list):
        return [(f"[{place}]", item) for place, item in enumerate(value)]
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
        return [(f".{name}", getattr(value, name)) for name in names]
    return None


def _is_struct(value: tuple[Any, ...]) -> bool:
    """Tell whether a tuple is one that C made with names, as `torch.max` returns."""
    return hasattr(type(value), "n_sequence_fields")


def _rebuilt(value: Any, items: list[Any]) -> Any:
    """Return a container of the same type and order with other items."""
    if isinstance(value, dict):
        made: Any = {} if type(value) is dict else copy.copy(value)
        for key, item in zip(value, items, strict=True):
            made[key] = item
        return made
    if isinstance(value, tuple):
        return value._make(items) if hasattr(value, "_make") else type(value)(items)
    if isinstance(value, list):
        made = [] if type(value) is list else copy.copy(value)
        made[:] = items
        return made
    made = copy.copy(value)
    names = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
    for name, item in zip(names, items, strict=True):
        object.__setattr__(made, name, item)
    return made


def leaves(value: Any, is_leaf: Callable[[Any], bool], root: str = "") -> Iterator[tuple[str, Any]]:
    """Yield whatever is no container, and what `is_leaf`, with its path from the root, once for each place.

    Raises ValueError, with its path, for a container that holds itself, and for more than 200 levels.
    """
    yield from _leaves(value, is_leaf, root, {})


def _leaves(value: Any, is_leaf: Callable[[Any], bool], path: str, above: dict[int, str]) -> Iterator[tuple[str, Any]]:
    items = None if is_leaf(value) else parts(value)
    if items is None:
        yield path, value
        return
    _check(value, path, above)
    above[id(value)] = path
    for step, item in items:
        yield from _leaves(item, is_leaf, path + step, above)
    del above[id(value)]


def _check(value: Any, path: str, above: dict[int, str]) -> None:
    if id(value) in above:
        raise ValueError(f"value{path} is value{above[id(value)]} itself: a tree that holds itself has no end")
    if len(above) >= DEEPEST:
        raise ValueError(f"value{_ends(path)} lies more than {DEEPEST} levels deep: give a flatter tree")


def _ends(path: str) -> str:
    return path if len(path) <= 60 else f"{path[:28]}…{path[-28:]}"


def changed(value: Any, change: Callable[[Any], Any], is_leaf: Callable[[Any], bool], *, share: bool = True) -> Any:
    """Return a copy of a tree with `change(leaf)` in place of each leaf; containers are copied, never changed.

    With `share` what stood in several places is changed once, and the same result stands in all of them. Raises as
    `leaves`.
    """
    done: dict[int, tuple[Any, Any]] = {}  # the given ones are kept there, so that no id is used again
    above: dict[int, str] = {}

    def made(value: Any, path: str) -> Any:
        if share and id(value) in done:
            return done[id(value)][1]
        items = None if is_leaf(value) else parts(value)
        if items is None:
            result = change(value)
        else:
            _check(value, path, above)
            above[id(value)] = path
            result = _rebuilt(value, [made(item, path + step) for step, item in items])
            del above[id(value)]
        if share:
            done[id(value)] = (value, result)
        return result

    return made(value, "")

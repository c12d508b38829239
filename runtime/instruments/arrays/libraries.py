"""Find the library that an array or a module is of, without loading those that are not there; and name all arrays."""

import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from titrant.runtime.instruments.arrays.library import ArrayLibrary
from titrant.runtime.instruments.arrays.walk import leaves

if TYPE_CHECKING:
    import numpy as np


def _torch() -> ArrayLibrary:
    from titrant.runtime.instruments.arrays.torch_arrays import LIBRARY

    return LIBRARY


def _numpy() -> ArrayLibrary:
    from titrant.runtime.instruments.arrays.numpy_arrays import LIBRARY

    return LIBRARY


def _mlx() -> ArrayLibrary:
    from titrant.runtime.instruments.arrays.mlx_arrays import LIBRARY

    return LIBRARY


# The module that is loaded wherever an array of the library exists.
_LIBRARIES = (("torch", _torch), ("mlx.core", _mlx), ("numpy", _numpy))


def library_of(value: Any) -> ArrayLibrary | None:
    """Return the library of an array or a module; None for anything else."""
    return _library(cast(Hashable, type(value)), tuple(root for root, _ in _LIBRARIES if root in sys.modules))


@cache
def _library(kind: Any, loaded: tuple[str, ...]) -> ArrayLibrary | None:
    libraries = (load() for root, load in _LIBRARIES if root in loaded)
    return next((each for each in libraries if issubclass(kind, (*each.arrays, *each.modules))), None)


def is_array(value: Any) -> bool:
    """Tell whether a value is an array of torch, NumPy or MLX; NumPy's scalars are."""
    library = library_of(value)
    return library is not None and isinstance(value, library.arrays)


def is_module(value: Any) -> bool:
    """Tell whether a value is a module of torch or MLX."""
    library = library_of(value)
    return library is not None and isinstance(value, library.modules)


def as_numbers(value: Any) -> "np.ndarray[Any, Any]":
    """Return an array of any library, or numbers in lists, as NumPy's float64; ValueError for what holds no numbers."""
    import numpy as np

    library = library_of(value)
    if library is None or not isinstance(value, library.arrays):
        try:
            return np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"a {type(value).__name__} is no array of numbers") from None
    form = library.form(value)
    if form.unread:
        raise ValueError(f"the array cannot be read: {form.unread}")
    return library.to_numpy(value)


def together(arrays: Sequence[Any], ask: Callable[[ArrayLibrary, Sequence[Any]], list[Any]]) -> list[Any]:
    """Ask each library for what it says of its own arrays, all of them at once; the answers in the order given."""
    places: dict[int, list[int]] = {}
    libraries: dict[int, ArrayLibrary] = {}
    for place, array in enumerate(arrays):
        library = library_of(array)
        assert library is not None, type(array)
        libraries[id(library)] = library
        places.setdefault(id(library), []).append(place)
    answers: list[Any] = [None] * len(arrays)
    for key, own in places.items():
        for place, answer in zip(own, ask(libraries[key], [arrays[place] for place in own]), strict=True):
            answers[place] = answer
    return answers


@dataclass(frozen=True)
class NamedArray:
    """An array, or a number of Python's; `mask`: a module's buffer, which may hold infinity on purpose."""

    name: str
    array: Any
    mask: bool = False


def named_arrays(value: Any, name: str) -> Iterator[NamedArray]:
    """Yield the arrays and the fractions of a tree, those of modules in it by the modules' own names.

    What stands in several places is yielded at the first. Raises ValueError for a tree that holds itself.
    """
    seen: set[int] = set()
    for path, leaf in leaves(value, lambda each: library_of(each) is not None):
        if is_module(leaf):
            each = [*_parts(leaf, f"{name}{path}" if path or name else "")]
        elif is_array(leaf) or isinstance(leaf, float | complex):
            each = [NamedArray(f"{name}{path}", leaf)]
        else:
            continue
        for named in each:
            # Numbers of Python's are kept alive by nobody: their ids may come again.
            if not is_array(named.array) or id(named.array) not in seen:
                seen.add(id(named.array))
                yield named


def _parts(module: Any, name: str) -> Iterator[NamedArray]:
    library = library_of(module)
    assert library is not None
    for part in library.parts(module):
        if not part.tied:
            yield NamedArray(f"{name}.{part.name}".lstrip("."), part.array, mask=not part.parameter)

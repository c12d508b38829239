"""Find the arrays that hold NaN or infinity: all are looked at together, and counted are those that do alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from titrant.runtime.instruments.arrays.libraries import NamedArray, is_array, library_of, named_arrays, together
from titrant.runtime.instruments.arrays.library import ArrayLibrary, Moments

_NAMED = 8


@dataclass(frozen=True)
class BrokenArray:
    """An array with values that are no finite numbers, and how many of its `count` they are."""

    name: str
    nan: int
    infinite: int
    count: int

    def __str__(self) -> str:
        """Say what it holds."""
        faults = [f"{self.nan:,} NaN"] * bool(self.nan) + [f"{self.infinite:,} infinite"] * bool(self.infinite)
        return f"{self.name} ({' and '.join(faults)} of {self.count:,})"


@dataclass(frozen=True)
class FiniteReport:
    """What was checked: how many arrays were, those that are not finite, and those that hold no values to check."""

    checked: int
    broken: tuple[BrokenArray, ...]
    unread: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every value that was checked is finite."""
        return not self.broken

    def __str__(self) -> str:
        """Say what is broken, the first of it by name."""
        if self.ok:
            unread = f"; {len(self.unread)} without values" if self.unread else ""
            return f"{self.checked:,} arrays are finite{unread}"
        more = len(self.broken) - _NAMED
        return ", ".join(map(str, self.broken[:_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def find_broken(value: Any, name: str, *, infinity: bool = True) -> FiniteReport:
    """Look at every array of a tree or module: one call a device and dtype, one transfer a device.

    Buffers of modules may hold infinity, as masks do; without `infinity` everything may. A second pass counts the
    values of those alone that are broken.
    """
    arrays, numbers, unread = [], [], []
    for each in named_arrays(value, name):
        if not is_array(each.array):
            numbers.append(each)
        elif _unread(each.array):
            unread.append(each.name)
        else:
            arrays.append(each)
    largest = together([each.array for each in arrays], _extremes)
    suspects = [each for each, value in zip(arrays, largest, strict=True) if not math.isfinite(value)]
    moments = together([each.array for each in suspects], _moments)
    broken = [_broken(each, counted, infinity=infinity) for each, counted in zip(suspects, moments, strict=True)]
    broken += [_broken(each, _of_number(each.array), infinity=infinity) for each in numbers]
    return FiniteReport(
        len(arrays) + len(numbers), tuple(each for each in broken if each.nan or each.infinite), tuple(unread)
    )


def _unread(array: Any) -> str:
    library = library_of(array)
    assert library is not None
    form = library.form(array)
    return form.unread if form.floating or form.unread else ""


def _extremes(library: ArrayLibrary, arrays: Sequence[Any]) -> list[float]:
    return library.extremes(arrays)


def _moments(library: ArrayLibrary, arrays: Sequence[Any]) -> list[Moments]:
    return library.moments(arrays)


def _broken(each: NamedArray, counted: Moments, *, infinity: bool) -> BrokenArray:
    infinite = counted.infinite if infinity and not each.mask else 0
    return BrokenArray(each.name, counted.nan, infinite, counted.finite + counted.nan + counted.infinite)


def _of_number(number: Any) -> Moments:
    size = abs(number)
    return Moments(finite=int(math.isfinite(size)), nan=int(math.isnan(size)), infinite=int(math.isinf(size)))

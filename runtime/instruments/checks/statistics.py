"""Describe the numbers of arrays, and warn of what looks wrong in them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from titrant.runtime.arrays.libraries import is_array, library_of, named_arrays, together
from titrant.runtime.arrays.library import ArrayForm, ArrayLibrary, Moments
from titrant.schema.values.text import columns

# What float16 holds at most, and beyond how many deviations from the mean a number makes a scale of 8 bits coarse.
FLOAT16_MOST = 65504.0
FAR_DEVIATIONS = 100.0
# The share of zeros above which an array is called mostly zero.
MOSTLY = 0.9


@dataclass(frozen=True)
class ArrayStatistics:
    """The form of an array, and its numbers; of complex ones their magnitudes.

    `mean`, `deviation` (of all values, not a sample), `minimum` and `maximum` are over the finite values, and None
    where there are none. `subnormal` counts numbers that are smaller than the dtype holds at full precision. `warnings`
    are sentences.
    """

    shape: tuple[int, ...]
    dtype: str
    bytes: int
    count: int
    mean: float | None = None
    deviation: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    nan: int = 0
    infinite: int = 0
    zero: int = 0
    subnormal: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every value is finite."""
        return not self.nan and not self.infinite


@dataclass(frozen=True)
class StatisticsReport:
    """Statistics by the name of the array, in order."""

    arrays: Mapping[str, ArrayStatistics]

    @property
    def ok(self) -> bool:
        """Whether every value of every array is finite."""
        return all(each.ok for each in self.arrays.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What looks wrong, each with the name of its array."""
        return tuple(f"{name}: {warning}" for name, each in self.arrays.items() for warning in each.warnings)

    def __str__(self) -> str:
        """Write the table, a line an array, and the warnings below it."""
        head = ("name", "shape", "dtype", "mean", "std", "min", "max", "NaN", "infinite")
        rows = [(name, *_cells(each)) for name, each in self.arrays.items()]
        return "\n".join([columns([head, *rows]), *self.warnings])


def statistics_of(value: Any, name: str) -> StatisticsReport:
    """Describe every array and fraction of a tree or module, each library's together, one transfer a device."""
    import numpy as np

    named = [*named_arrays(value, name)]
    arrays = [each.array if is_array(each.array) else np.asarray(each.array) for each in named]
    return StatisticsReport(dict(zip((each.name for each in named), described(arrays), strict=True)))


def described(arrays: Sequence[Any]) -> list[ArrayStatistics]:
    """Describe arrays, all of them together."""
    forms = [_form(array) for array in arrays]
    readable = [array for array, form in zip(arrays, forms, strict=True) if not form.unread]
    moments = iter(together(readable, lambda library, own: library.moments(own)))
    return [_described(form, Moments() if form.unread else next(moments)) for form in forms]


def _form(array: Any) -> ArrayForm:
    library: ArrayLibrary | None = library_of(array)
    assert library is not None
    return library.form(array)


def _described(form: ArrayForm, moments: Moments) -> ArrayStatistics:
    count = form.count
    values = (moments.mean, moments.deviation, moments.minimum, moments.maximum)
    mean, deviation, minimum, maximum = values if moments.finite else (None, None, None, None)
    warnings = tuple(_warnings(form, moments, count))
    return ArrayStatistics(
        form.shape, form.dtype, form.bytes, count, mean, deviation, minimum, maximum, moments.nan, moments.infinite,
        moments.zero, moments.subnormal, warnings,
    )  # fmt: skip


def _warnings(form: ArrayForm, moments: Moments, count: int) -> Iterator[str]:
    if form.unread or not count:
        yield form.unread or "it is empty"
        return
    if moments.nan:
        yield f"NaN: {moments.nan:,} of {count:,} values"
    if moments.infinite:
        yield f"infinite: {moments.infinite:,} of {count:,} values"
    if not moments.finite:
        return
    if moments.zero == count:
        yield "all values are 0"
    elif moments.minimum == moments.maximum and count > 1 and moments.finite == count:
        yield f"all values are {moments.minimum:g}"
    elif moments.zero > MOSTLY * count:
        yield f"{100 * moments.zero / count:.3g} % of the values are 0"
    if form.floating:
        yield from _range_warnings(moments)


def _range_warnings(moments: Moments) -> Iterator[str]:
    if moments.subnormal:
        share = f"{moments.subnormal:,} of {moments.finite:,} values"
        yield f"subnormal: {share}, which lose digits and slow some processors down"
    largest = max(-moments.minimum, moments.maximum)
    if largest > FLOAT16_MOST:
        yield f"values reach {largest:.3g}, and float16 holds {FLOAT16_MOST:,.0f}"
    far = max(moments.mean - moments.minimum, moments.maximum - moments.mean)
    if moments.deviation > 0 and far > FAR_DEVIATIONS * moments.deviation:
        yield f"one value lies {far / moments.deviation:,.0f} standard deviations from the mean"


def _cells(each: ArrayStatistics) -> tuple[str, ...]:
    statistics = (each.mean, each.deviation, each.minimum, each.maximum)
    numbers = ["–" if number is None else f"{number:.3g}" for number in statistics]
    return "×".join(map(str, each.shape)) or "1", each.dtype, *numbers, f"{each.nan:,}", f"{each.infinite:,}"

"""Read and write sizes (`12 GiB`), times (`250 ms`) and counts (`1 step`, `1,200 steps`)."""

import re
from collections.abc import Mapping
from decimal import Decimal

SIZES: Mapping[str, int] = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
TIMES: Mapping[str, Decimal] = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "min": Decimal(60),
    "h": Decimal(3600),
}
# What people write → the unit that it means.
_MEANT: Mapping[str, str] = {
    "k": "KB", "m": "MB", "g": "GB", "t": "TB", "byte": "B", "megabyte": "MB", "gigabyte": "GB", "mebibyte": "MiB",
    "sec": "s", "second": "s", "millisecond": "ms", "msec": "ms", "milli": "ms", "microsecond": "us", "usec": "us",
    "nanosecond": "ns", "minute": "min", "hour": "h", "hr": "h",
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?([A-Za-zµ]+)")
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
_COMMA = re.compile(r"([0-9]{1,18}),([0-9]{1,18} ?[A-Za-zµ]+)")
# The least number before a unit above the byte: with it every such size is one byte at least.
_LEAST = Decimal("0.001")


class QuantityError(ValueError):
    """What is wrong with a quantity that somebody wrote, and how it is written instead ("" where that is plain)."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f"{message}; {advice}" if advice else message)
        self.message = message
        self.advice = advice


def parse_size(text: str) -> int:
    """Return the bytes that a size such as `12 GiB` or `200 KB` means; KiB is 1024 bytes, KB 1000.

    Raises QuantityError when the unit is missing or unknown, and for less than one byte or than a thousandth of the
    unit.
    """
    number, unit = _quantity(text, SIZES, "size", "12 GiB")
    size = round(number * SIZES[unit])
    if size < 1 or (unit == "B" and number < 1):
        raise QuantityError(f"`{text}` is less than one byte")
    if number < _LEAST:
        raise QuantityError(f"`{text}` is less than a thousandth of its unit", f"write `{size} B`")
    return size


def parse_time(text: str) -> float:
    """Return the seconds that a time such as `250 ms` or `1.5 s` means.

    Raises QuantityError when the unit is missing or unknown or the time is not above 0.
    """
    number, unit = _quantity(text, TIMES, "time", "250 ms")
    if number == 0:
        raise QuantityError(f"`{text}` is not a time above 0")
    return float(number * TIMES[unit])


def _quantity(text: str, units: Mapping[str, object], what: str, example: str) -> tuple[Decimal, str]:
    # The sign for micro and the Greek letter, which normalizing a text makes of it, look the same.
    match = _QUANTITY.fullmatch(text.strip().replace("\u03bc", "\u00b5"))
    if match and match[2] in units:
        return Decimal(match[1]), match[2]
    if comma := _COMMA.fullmatch(text.strip()):
        raise QuantityError(f"`{text}` is not a {what}", f"the decimal sign is a point: write `{comma[1]}.{comma[2]}`")
    if _NUMBER.fullmatch(text.strip()):
        raise QuantityError(f"`{text}` has no unit", f"a {what} is written like `{example}`")
    if match and (meant := _meant(match[2].lower())) in units:
        raise QuantityError(f"`{match[2]}` is not a unit of {what}", f"did you mean `{match[1]} {meant}`?")
    if match and (near := [unit for unit in units if unit.lower() == match[2].lower()]):
        raise QuantityError(f"`{match[2]}` is not a unit of {what}", f"did you mean `{match[1]} {near[0]}`?")
    if match:
        raise QuantityError(f"`{match[2]}` is not a unit of {what}", f"the units are {', '.join(units)}")
    raise QuantityError(f"`{text}` is not a {what}", f"a {what} is written like `{example}`")


def _meant(word: str) -> str:
    singular = word.removesuffix("s") if len(word) > 3 else word
    return _MEANT.get(word) or _MEANT.get(singular, "")


def format_size(size: float) -> str:
    """Write bytes for a person with the fitting binary unit: `11.6 KiB`."""
    sign, size = ("-" if size < 0 else ""), abs(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1023.95 or (unit == "B" and size < 1024):
            return f"{sign}{size:.0f} B" if unit == "B" else f"{sign}{size:.1f} {unit}"
        size /= 1024
    return f"{sign}{size:.1f} TiB"


def format_time(seconds: float) -> str:
    """Write seconds for a person with the fitting unit: `1.2 ms`, `12.5 s`, `2 min 5 s`."""
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    if seconds == 0:
        return "0 s"
    if seconds >= 59.95:
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{sign}{hours} h {minutes} min" if hours else f"{sign}{minutes} min {rest} s"
    for unit, scale in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < 999.5 * scale or unit == "s":
            number = seconds / scale
            return f"{sign}{float(f'{number:.2g}') if number < 10 else float(f'{number:.3g}'):g} {unit}"
    raise AssertionError("unreachable: seconds always fit")


def write_size(size: int) -> str:
    """Write bytes so that `parse_size` gives the same number back, with the largest binary unit that divides it."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size % SIZES[unit] == 0:
            return f"{size // SIZES[unit]} {unit}"
    return f"{size} B"


def write_time(seconds: float) -> str:
    """Write seconds so that `parse_time` gives the same number back."""
    exact = Decimal(repr(seconds))
    unit = next((unit for unit in ("s", "ms", "us", "ns") if exact >= TIMES[unit]), "ns")
    number = (exact / TIMES[unit]).normalize()
    return f"{number:f} {unit}"


def counted(count: int, thing: str, things: str = "") -> str:
    """Write how many there are of a thing: `1 step`, `1,200 steps`; `things` is its plural where that is not an `s`."""
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"


# A group of fewer cases than this is not shown, where the recipe says nothing else.
MIN_CELL = 5


def is_small(count: int, least: int) -> bool:
    """Tell whether so many cases are too few to be shown; that there are none may be told."""
    return 0 < count < least


def few(least: int) -> str:
    """Write a number of cases that is not shown."""
    return f"<{least}"


def shown_count(count: int | None, least: int) -> str:
    """Write a number of cases as far as it may be shown; "" where there is none."""
    return "" if count is None else few(least) if is_small(count, least) else str(count)

"""Refuse numbers with which nothing can be measured: RecipeError X671, in the same words everywhere."""

import math
from typing import Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse what is no whole number, or below `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise RecipeError(Diagnostic("X671", f"{name} is {value!r}", help=f"give a whole number, {least} or more"))


def check_above(name: str, value: Any, bound: float, unit: str = "") -> None:
    """Refuse what is no finite number above `bound`; `unit` names what it is in, such as "seconds"."""
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not numeric or not math.isfinite(value) or value <= bound:
        kind = f"a number of {unit}" if unit else "a number"
        raise RecipeError(Diagnostic("X671", f"{name} is {value!r}", help=f"give {kind} above {bound:g}"))

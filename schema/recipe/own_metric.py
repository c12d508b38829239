"""What a user's own metric declares of itself: which way is better, between which numbers, and what has one number."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from titrant.schema.values.frozen import dataclass

Better = Literal["higher", "lower"]
MetricUnit = Literal["case", "set"]
# What has one number → the test that judges it.
OWN_TESTS: Mapping[MetricUnit, str] = {"case": "own_case", "set": "own_set"}
_BETTER, _UNITS = ("higher", "lower"), ("case", "set")
# Which comparisons keep a metric from getting worse.
GUARDING: Mapping[Better, tuple[str, ...]] = {
    "higher": ("at_least", "drop_at_most", "retention"),
    "lower": ("at_most", "rise_at_most", "retention"),
}


@dataclass(frozen=True)
class OwnMetric:
    """What `titrant.metric` says of a function: its numbers lie in `low` to `high`, one for each `unit`.

    `unit` is "case" (a number for each case, which does not depend on the others) or "set" (one for all of them).
    """

    better: Better
    low: float
    high: float
    unit: MetricUnit


def is_own(metric: str) -> bool:
    """Whether a metric is the user's own, `module:name`."""
    return ":" in metric


def own_metric(better: Any, range: Any, unit: Any) -> OwnMetric:
    """Return a declaration; ValueError, with a sentence for a person, where a part of it is none."""
    if better not in _BETTER:
        raise ValueError(f"`better` is {better!r}, and it is 'higher' or 'lower'")
    if unit not in _UNITS:
        raise ValueError(f"`unit` is {unit!r}, and it is 'case' (a number for each) or 'set' (one for all)")
    ends = tuple(range) if isinstance(range, (list, tuple)) else ()
    numbers = len(ends) == 2 and all(type(end) in (int, float) and math.isfinite(end) for end in ends)
    if not numbers or ends[0] >= ends[1]:
        raise ValueError(f"`range` is {range!r}, and it is two numbers, the lowest possible and the highest")
    return OwnMetric(better, float(ends[0]), float(ends[1]), unit)


def own_test(own: OwnMetric, comparison: str) -> str:
    """Name the test that judges a comparison; ValueError where it guards nothing, or is a ratio below 0."""
    if comparison not in GUARDING[own.better]:
        way = "more" if own.better == "higher" else "less"
        allowed = ", ".join(f"`{name}`" for name in GUARDING[own.better])
        raise ValueError(f"{way} of it is better, and what guards it is {allowed}")
    if comparison == "retention" and own.low < 0:
        raise ValueError(f"it may be {own.low:g}, and a ratio to the original has a meaning from 0 on only")
    return OWN_TESTS[own.unit]


def own_range(own: OwnMetric, comparison: str) -> tuple[float, float]:
    """Return between which numbers a threshold has a meaning."""
    if comparison == "retention":
        return 0.0, 2.0
    return (own.low, own.high) if comparison in ("at_least", "at_most") else (0.0, own.high - own.low)

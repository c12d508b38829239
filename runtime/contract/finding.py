"""What a test found of one gate, before it is compared with the threshold."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The quantity that a gate compares, its one-sided bounds, and what was seen, in words.

    `observed` is the start of the reason. `cases` counts the metric's denominator, `changed` the cases that decide
    the test; with `clean` nothing speaks against the gate ("no loss"). `missing` says why a bound is not there.
    `proves_with` tells whether so many times the evidence, with the same shares, would prove the gate.
    """

    estimate: float | None
    lower: float | None
    upper: float | None
    original: float | None
    candidate: float | None
    cases: int
    changed: int | None
    method: str
    observed: str
    clean: str = ""
    missing: str = ""
    least: int | None = None  # cases below which nothing is concluded
    counted: str = "cases"
    units: int | None = None  # what `min_cases` counts, where several rows belong to one unit
    proves_with: Callable[[float], bool] | None = None

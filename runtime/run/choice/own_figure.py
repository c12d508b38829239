"""What a metric of the user's own gave of one candidate on tuning rows, and when two candidates differ in it."""

import math
from collections.abc import Mapping
from typing import Any

from titrant.schema.values.frozen import dataclass

# Two candidates are told apart when chance explains their difference in one of twenty draws, in one direction.
_Z = 1.645


@dataclass(frozen=True)
class OwnFigure:
    """A metric of the user's own, on tuning rows: of the original and of a candidate.

    `low` and `high` are the range that it declares; `error` is the standard error of the candidate's difference to the
    original, None where so few rows do not tell it.
    """

    metric: str
    higher_is_better: bool
    low: float
    high: float
    original: float
    candidate: float
    error: float | None

    @property
    def scale(self) -> float:
        """What a share of is a gap: the original's value, or what it lacks to the best of the range, if that is less.

        A cost near 0 and a score near 1 are both told apart so, and 0 says that nothing is left to lose or to gain.
        """
        best = self.high if self.higher_is_better else self.low
        return min(abs(self.original), abs(best - self.original))


def own_figures(quality: Mapping[str, Any]) -> tuple[OwnFigure, ...]:
    """Return the figures of a candidate, of what `validate.measure` gave."""
    return tuple(
        OwnFigure(
            metric,
            given["better"] == "higher",
            given["low"],
            given["high"],
            given["original"],
            given["candidate"],
            given["error"],
        )
        for metric, given in quality.get("own", {}).items()
    )


def own_verdict(mine: OwnFigure | None, theirs: OwnFigure | None, share: float) -> str:
    """Say whether a candidate is better or worse than another by a gap that counts, else alike.

    A gap counts above a share of the figure's scale, and beyond what chance explains of both candidates.
    """
    if mine is None or theirs is None or mine.error is None or theirs.error is None:
        return "alike"
    gain = _gain(mine, theirs)
    if abs(gain) <= max(share * mine.scale, _Z * math.hypot(mine.error, theirs.error)):
        return "alike"
    return "better" if gain > 0 else "worse"


def own_steps(mine: OwnFigure | None, reference: OwnFigure | None, share: float) -> float:
    """Return how many gaps one is from a reference, less for better; infinite where it is not known."""
    if mine is None or reference is None:
        return math.inf
    scale = mine.scale or mine.high - mine.low
    return float(-round(_gain(mine, reference) / (share * scale)))


def _gain(mine: OwnFigure, theirs: OwnFigure) -> float:
    gain = mine.candidate - theirs.candidate
    return gain if mine.higher_is_better else -gain

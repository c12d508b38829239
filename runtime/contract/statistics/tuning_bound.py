"""Bound from below what a candidate keeps, by the counts of tuning rows that measuring it recorded.

What is tried on the same rows again and again is kept by its bound, not by what was seen: of mixtures that were kept
by their point estimate on 1,000 rows, 4 in 10 broke their contract on other rows.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from titrant.runtime.contract.statistics.proportions import Pairs, paired_ratio_lower_bound, pairs
from titrant.runtime.contract.statistics.units import effective_share, grouped
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class TuningBound:
    """The share of the original's accuracy (or equal answers) that a candidate keeps on tuning rows, and its bound.

    `kept` is what was seen, `lower` what it keeps at least, both 0 or more; `rows` are those that were counted.
    """

    kept: float
    lower: float
    rows: int


def counts_of(original: np.ndarray, candidate: np.ndarray, units: np.ndarray) -> dict[str, Any]:
    """Return the counts that `tuning_bound` needs: {"both", "lost", "gained", "neither"} and {"units": {size: count}}.

    They are of the rows that either model decides right, `original` and `candidate` (rows,) bool. `units` (rows,) says
    to which unit a row belongs; how many units have how many rows is left out where each has one.
    """
    counts = pairs(original, candidate)
    sizes, held = np.unique(grouped(units)[1], return_counts=True)
    several = {str(size): int(count) for size, count in zip(sizes, held, strict=True)}
    return {
        "both": int(counts.both),
        "lost": int(counts.lost),
        "gained": int(counts.gained),
        "neither": int(counts.neither),
        **({"units": several} if any(sizes > 1) else {}),
    }


def tuning_bound(quality: Mapping[str, Any], retention: float, confidence: float = 0.95) -> TuningBound | None:
    """Return the one-sided lower bound of what `validate.measure` counted, None where it counted nothing.

    By the score test of Nam and Blackwelder (2002) for the ratio of paired proportions, exact where few rows changed.
    What the scores of cases bound is taken as it stands.
    Rows of one unit count as fewer cases, so many as `retention` needs if units fail whole.
    """
    if quality.get("kept_at_least") is not None:
        return TuningBound(max(quality["retention"], 0.0), max(quality["kept_at_least"], 0.0), quality["rows"])
    recorded = quality.get("pairs")
    if recorded is None or not recorded["both"] + recorded["lost"]:
        return None
    counts = Pairs(*(float(recorded[name]) for name in ("both", "lost", "gained", "neither")))
    held = recorded.get("units", {})
    units = np.repeat(np.arange(sum(held.values())), [int(size) for size, count in held.items() for _ in range(count)])
    share = effective_share(units, 1 - retention) if held else 1.0
    lower = paired_ratio_lower_bound(counts.times(share), confidence)[0]
    kept = (counts.both + counts.gained) / (counts.both + counts.lost)
    return TuningBound(kept, lower, round(counts.cases))

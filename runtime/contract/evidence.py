"""Everything that judging one candidate looks at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.values import Rows


@dataclass(frozen=True)
class Evidence:
    """Both models' answers on the evaluation rows, and what was measured of the candidate.

    `original` and `candidate` are None without labels. `alike` (rows,) bool: the same decision, or without labels the
    same answer. `figures` is the candidate's entry of the joint timing, `original_figures` the
    original's, `size` the bytes of the candidate's file.
    """

    rows: Rows
    original: Answers | None
    candidate: Answers | None
    alike: np.ndarray
    confidence: float = 0.95
    figures: Mapping[str, Any] | None = None
    original_figures: Mapping[str, Any] | None = None
    timing_batch: int = 1
    size: int | None = None
    seed: int = 0

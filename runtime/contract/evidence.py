"""What the gates are judged on, and what a test finds out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.values import Rows


@dataclass(frozen=True)
class Evidence:
    """Both models' answers on the same rows, and the candidate's figures.

    `original` and `candidate` are None for a task without labels; `alike` says for each case whether both answer
    alike. `timing` has "p50" …, "samples", "throughput" of one batch of `batch` cases.
    """

    rows: Rows
    original: Answers | None
    candidate: Answers | None
    alike: np.ndarray
    size_bytes: int
    timing: Mapping[str, Any] | None
    original_timing: Mapping[str, Any] | None
    batch: int
    peak_bytes: int | None
    confidence: float
    generator: np.random.Generator

    @property
    def clustered(self) -> bool:
        """Whether a unit holds more than one case, so that cases are not independent."""
        return len(np.unique(self.rows.units)) < len(self.rows)


@dataclass(frozen=True)
class Finding:
    """An estimate with one-sided bounds, of the quantity that is compared with the threshold.

    `cases` counts what the test counts; `original` and `candidate` are the metric on either model. `changed` counts
    the cases that decide. None: not known.
    """

    estimate: float | None
    lower: float | None
    upper: float | None
    original: float | None
    candidate: float | None
    cases: int
    changed: int | None
    method: str
    counts: str = ""  # the finding in words, such as "0 of 63 lost"


def nothing(why: str, cases: int = 0) -> Finding:
    """Return the finding of a test that could not be made."""
    return Finding(None, None, None, None, None, cases, None, why)

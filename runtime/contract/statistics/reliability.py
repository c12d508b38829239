"""How well probabilities hold: what was predicted beside what came, in bins of equally many rows, for two models."""

from collections.abc import Sequence

import numpy as np

from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import is_small

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows of alike probabilities: how many, the mean of their probabilities 0..1, and in how many it came true."""

    cases: int
    predicted: float
    events: int

    @property
    def observed(self) -> float:
        """The share in which it came true."""
        return self.events / self.cases


@dataclass(frozen=True)
class Reliability:
    """Both models' bins from the least probable up; `event` is what the probability is of."""

    event: str
    original: tuple[ReliabilityBin, ...]
    candidate: tuple[ReliabilityBin, ...]


def reliability(
    original: np.ndarray, candidate: np.ndarray, labels: np.ndarray, classes: Sequence[str], positive: int | None
) -> Reliability | None:
    """Bin two models' probabilities, (rows, classes), of the positive class, else of the class that each decides for.

    Ten bins of equally many rows each, fewer where probabilities are alike: equal ones are never parted. `labels` are
    (rows,) class indices; None without rows.
    """
    if not len(labels):
        return None
    sides = []
    for probabilities in (original, candidate):
        if positive is None:
            sides.append(_bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels))
        else:
            sides.append(_bins(probabilities[:, positive], labels == positive))
    return Reliability("the class that is decided for" if positive is None else classes[positive], *sides)


def _bins(probabilities: np.ndarray, came: np.ndarray) -> tuple[ReliabilityBin, ...]:
    inner: np.ndarray = np.quantile(probabilities, np.linspace(0, 1, BINS + 1)[1:-1])
    edges: np.ndarray = np.unique(inner)
    places = np.searchsorted(edges, probabilities, side="right")
    chosen = [places == place for place in range(len(edges) + 1)]
    return tuple(
        ReliabilityBin(int(rows.sum()), float(probabilities[rows].mean()), int(came[rows].sum()))
        for rows in chosen
        if rows.any()
    )


def without_small_bins(value: Reliability, least: int) -> Reliability:
    """Join neighboring bins until none has fewer than `least` cases, events or others; none at all may be."""
    return Reliability(value.event, _joined(value.original, least), _joined(value.candidate, least))


def _joined(bins: Sequence[ReliabilityBin], least: int) -> tuple[ReliabilityBin, ...]:
    kept = list(bins)
    while (place := next((at for at, each in enumerate(kept) if _is_small(each, least)), None)) is not None:
        if len(kept) == 1:
            return ()
        right = place == 0 or (place + 1 < len(kept) and kept[place + 1].cases < kept[place - 1].cases)
        first = place if right else place - 1
        kept[first : first + 2] = [_sum(kept[first], kept[first + 1])]
    return tuple(kept)


def _is_small(each: ReliabilityBin, least: int) -> bool:
    return any(is_small(count, least) for count in (each.cases, each.events, each.cases - each.events))


def _sum(first: ReliabilityBin, second: ReliabilityBin) -> ReliabilityBin:
    cases = first.cases + second.cases
    mean = (first.predicted * first.cases + second.predicted * second.cases) / cases
    return ReliabilityBin(cases, mean, first.events + second.events)

"""Paired counts: on how many cases the original, the candidate, both or neither are right."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pairs:
    """Counts of paired cases; `lost` only the original has right, `gained` only the candidate.

    Fractions are allowed: rows of one unit count for less than a case each.
    """

    both: float
    lost: float
    gained: float
    neither: float

    @property
    def cases(self) -> float:
        """All pairs."""
        return self.both + self.lost + self.gained + self.neither

    @property
    def decided(self) -> float:
        """Pairs that at least one of the two has right; the ratio depends on no other."""
        return self.both + self.lost + self.gained

    @property
    def changed(self) -> float:
        """Pairs on which the two differ."""
        return self.lost + self.gained

    def times(self, factor: float) -> "Pairs":
        """Return the same shares among more or fewer cases."""
        return Pairs(self.both * factor, self.lost * factor, self.gained * factor, self.neither * factor)


def pairs(original: np.ndarray, candidate: np.ndarray) -> Pairs:
    """Count from which cases either model has right, both (rows,) bool."""
    both = int((original & candidate).sum())
    lost, gained = int((original & ~candidate).sum()), int((~original & candidate).sum())
    return Pairs(both, lost, gained, len(original) - both - lost - gained)

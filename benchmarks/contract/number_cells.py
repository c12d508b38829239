"""Ways in which numbers, or several labels a case, can be worse than a gate allows."""

from collections.abc import Iterator

import numpy as np
from contract.cells import Cell, Draw

from titrant.runtime.contract.tasks.multilabel import MultilabelAnswers
from titrant.runtime.contract.tasks.quantiles import QuantileClaims
from titrant.runtime.contract.tasks.scores import CaseClaims, CaseScores
from titrant.runtime.values import Rows

_CONFIDENCE, _KEPT = 0.95, 0.9
# What the original errs by, of a range of the labels of 1.
_ERROR = 0.1
# The .95 quantile of such an error: of the gamma distribution of shape 4 in units of its scale, 7.754.
_TAIL = 7.753656527932725 * _ERROR / 4


def errors() -> Iterator[Cell]:
    """Mean error at 0.9 of the original's: all cases err a little more, or a few by the whole range, or whole units."""
    for count in (100, 300, 1000):
        for pattern in ("all a little", "few by the whole range", "whole units of ten"):

            def make(count: int = count, pattern: str = pattern) -> Draw:
                def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                    units = np.arange(count) // (10 if pattern.startswith("whole") else 1)
                    old = np.minimum(rng.gamma(4, _ERROR / 4, count), 1.0)
                    rise = _ERROR * (1 / _KEPT - 1)
                    new = np.clip(old + rng.normal(0, 0.001, count), 0, 1)
                    if margin and pattern == "all a little":
                        new = np.minimum(old + rise * rng.gamma(4, 0.25, count), 1.0)
                    elif margin:
                        lost = rng.random(units.max() + 1) < rise / (1 - _ERROR)
                        new = np.where(lost[units], 1.0, old)
                    scores = CaseScores("mae", old, new, units, 0.0, 1.0)
                    return None, CaseClaims(scores, "retention", _CONFIDENCE).proves(_KEPT)

                return draw

            yield Cell("mean absolute error", pattern, str(count), _KEPT, make)


def explained() -> Iterator[Cell]:
    """R² that falls by 0.1: a few cases err by the whole range."""
    for count in (300, 1000):

        def make(count: int = count) -> Draw:
            def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                labels = rng.random(count)
                spread = (labels - labels.mean()) ** 2
                old = np.minimum(np.abs(rng.normal(0, _ERROR, count)), 1.0) ** 2
                share = 0.1 / 12 / (1 - _ERROR**2)  # the labels' variance is 1 / 12
                new = np.where(rng.random(count) < (share if margin else 0.0), 1.0, old)
                scores = CaseScores("r2", old, new, np.arange(count), 0.0, 1.0, spread=spread)
                return None, CaseClaims(scores, "drop_at_most", _CONFIDENCE).proves(0.1)

            return draw

        yield Cell("R²", "few by the whole range", str(count), 0.1, make)


def quantiles() -> Iterator[Cell]:
    """The .95 quantile of the error at 1 / 0.9 of the original's: all errors are larger, or those of the tail alone."""
    for count in (300, 1000, 3000):
        for pattern in ("all a little", "tail alone", "pairs unlike", "whole units of ten"):

            def make(count: int = count, pattern: str = pattern) -> Draw:
                def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                    size = 10 if pattern.startswith("whole") else 1
                    units = np.arange(count) // size
                    old = rng.gamma(4, _ERROR / 4, count)
                    # A faithful one moves single errors by a hundredth.
                    new = old * rng.normal(1, 0.01, count)
                    if size > 1:
                        shared = rng.gamma(4, _ERROR / 4, units.max() + 1)
                        old = shared[units]
                        new = old * rng.normal(1, 0.01, units.max() + 1)[units]
                    if margin and pattern == "pairs unlike":
                        new = rng.gamma(4, _ERROR / 4, count) / _KEPT
                    elif margin and pattern == "tail alone":
                        new = np.where(old > _TAIL * _KEPT, old / _KEPT, old)
                    elif margin:
                        new = old * rng.choice([1 - 1e-9, 1 + 1e-9], count) / _KEPT
                    scores = CaseScores("error_p95", old, new, units, 0.0, 1.0)
                    return None, QuantileClaims(scores, "retention", _CONFIDENCE).proves(_KEPT)

                return draw

            yield Cell("quantile of the error", pattern, str(count), _KEPT, make)


def labels() -> Iterator[Cell]:
    """Mean F1 of three labels at 0.9: labels are lost in whole cases, of the rarest alone, or false ones are added."""
    for count in (150, 600, 2000):
        for pattern in ("lost in whole cases", "rarest lost", "false ones added"):

            def make(count: int = count, pattern: str = pattern) -> Draw:
                held = np.array((0.3, 0.1, 0.5))

                def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                    marks = rng.random((count, 3)) < held
                    new = marks.copy()
                    if margin:
                        new = _worse(rng, marks, pattern, held)
                    places = np.arange(count)
                    targets = marks.astype(float)
                    rows = Rows(
                        "evaluation", {}, None, places, places.astype(np.uint64), ("a", "b", "c"), targets=targets
                    )
                    scores = MultilabelAnswers(rows, targets, new.astype(float)).scores("macro_f1", places)
                    return None, CaseClaims(scores, "retention", _CONFIDENCE).proves(_KEPT)

                return draw

            yield Cell("mean F1 of labels", pattern, str(count), _KEPT, make)


def _worse(rng: np.random.Generator, marks: np.ndarray, pattern: str, held: np.ndarray) -> np.ndarray:
    """Let a perfect original lose a tenth of its mean F1, on average."""
    count = len(marks)
    if pattern == "lost in whole cases":  # each F1 becomes 2 (1 - s) / (2 - s)
        return marks & (rng.random((count, 1)) >= _share_lost(1 - _KEPT))
    if pattern == "rarest lost":  # the one label's F1 falls by three times as much
        worse = marks.copy()
        worse[:, 1] &= rng.random(count) >= _share_lost(3 * (1 - _KEPT))
        return worse
    # With a false ones for each that is there, F1 is 2 / (2 + a).
    added = 2 / _KEPT - 2
    return marks | (rng.random((count, 3)) < added * held / (1 - held))


def _share_lost(drop: float) -> float:
    """Return the share of its true labels that leaves an F1 of 1 - drop."""
    return 2 * drop / (1 + drop)

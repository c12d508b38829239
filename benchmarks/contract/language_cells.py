"""Ways in which a language model or an embedding can be worse than a gate allows."""

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
from contract.cells import Cell, Draw

from titrant.runtime.contract.tasks.embedding import compared_neighbors
from titrant.runtime.contract.tasks.scores import CaseClaims, CaseScores

_CONFIDENCE, _VOCABULARY = 0.95, 512
_MOST = 2 * math.log(_VOCABULARY)


def documents() -> Iterator[Cell]:
    """Perplexity at 0.9 of the original's: all documents cost more, a few all there is, or only the long ones do."""
    for count in (300, 1000, 3000):
        for pattern in ("all a little", "few wholly", "long ones wholly"):

            def make(count: int = count, pattern: str = pattern) -> Draw:
                rise = -math.log(0.9)

                def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                    tokens = rng.integers(1, 65, count) / 64
                    old = np.minimum(rng.gamma(6, 0.25, count), _MOST)
                    new = np.clip(old + rng.normal(0, 0.005, count), 0, _MOST)
                    if margin and pattern == "all a little":
                        new = old + rise * rng.gamma(4, 0.25, count)
                    elif margin:
                        # What a document loses on average, and how much of all tokens those that may lose are.
                        longest = tokens > (0.75 if pattern.startswith("long") else 0.0)
                        held = np.arange(1, 65)[np.arange(1, 65) > (48 if pattern.startswith("long") else 0)].sum()
                        share = rise / (_MOST - 6 * 0.25) * np.arange(1, 65).sum() / held
                        new = np.where(longest & (rng.random(count) < share), _MOST, old)
                    scores = CaseScores("perplexity", old, new, np.arange(count), 0.0, _MOST, weights=tokens)
                    return None, CaseClaims(scores, "retention", _CONFIDENCE).proves(0.9)

                return draw

            yield Cell("perplexity", pattern, str(count), 0.9, make)


def neighbors() -> Iterator[Cell]:
    """The nearest neighbor kept by 0.9 of the rows: all are blurred, or some rows are lost."""
    yield from _neighbors(("blurred", "rows lost"))


def drawing() -> Iterator[Cell]:
    """One row draws others to it in every second collection: of the other half no bound can tell (not in the CSV)."""
    yield from _neighbors(("one row draws others",))


def _neighbors(patterns: tuple[str, ...]) -> Iterator[Cell]:
    for count in (200, 600):
        for pattern in patterns:

            def make(count: int = count, pattern: str = pattern) -> Draw:
                @cache
                def strength() -> float:
                    """Find at which strength a tenth of the neighbors is lost on average."""
                    rng, low, high = np.random.default_rng(1), 0.0, 1.0
                    for _ in range(12):
                        middle = (low + high) / 2
                        kept = np.mean([_kept(rng, count, pattern, middle).mean() for _ in range(12)])
                        low, high = (middle, high) if kept > 0.9 else (low, middle)
                    return (low + high) / 2

                def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                    kept = _kept(rng, count, pattern if margin else "blurred", strength() if margin else 0.004)
                    scores = CaseScores("neighbor", np.ones(count), kept, np.arange(count), 0.0, 1.0)
                    return None, CaseClaims(scores, "at_least", _CONFIDENCE).proves(0.9)

                return draw

            yield Cell("nearest neighbor", pattern, str(count), 0.9, make)


def _kept(rng: np.random.Generator, count: int, pattern: str, strength: float) -> np.ndarray:
    """Draw rows in ten clusters of 8 dimensions, and say which keep their nearest neighbor."""
    old = rng.normal(0, 2, (10, 8))[rng.integers(0, 10, count)] + rng.normal(0, 1, (count, 8))
    new = old + rng.normal(0, strength if pattern == "blurred" else 0.0, old.shape)
    if pattern == "rows lost":
        new = np.where(rng.random((count, 1)) < strength, rng.normal(0, 2, old.shape), old)
    if pattern == "one row draws others" and rng.random() < 0.5:
        drawn = rng.random(count) < strength
        new[drawn] = new[0] + 1e-3 * (new[drawn] - new[0])
    unit = [values / np.linalg.norm(values, axis=1, keepdims=True) for values in (old, new)]
    kept: np.ndarray = compared_neighbors(unit[0], unit[1], None)[2]
    return kept

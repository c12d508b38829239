"""Propose which mixture to make next, from what those before it kept on tuning rows."""

from collections.abc import Collection, Sequence

from titrant.runtime.mixture.allocation import Frontier, Mix, Priced
from titrant.schema.values.frozen import dataclass

# A predicted difference below this share is noise.
WORTH = 0.05
# After so many failures in a row the guess of where the contract breaks is not trusted, and what is left is halved.
_FAILURES = 2


@dataclass(frozen=True)
class TriedMix:
    """A mixture that was made and measured: its regions in int8, whether it was kept, and what it may have lost.

    `loss` is 1 less the lower bound of the share kept, 0..1: what decides, not what was seen.
    """

    int8: frozenset[str]
    kept: bool
    loss: float


def propose(
    priced: Priced,
    frontier: Frontier,
    tried: Sequence[TriedMix],
    retention: float,
    *,
    refused: Collection[frozenset[str]] = (),
) -> Mix | None:
    """Return the next mixture of the frontier to make, or None where none is left that is worth it.

    Left are those that are predicted at least 5 % faster than all in float and than the fastest that was kept, that the
    engine has not `refused` (regions in int8), and that no failure rules out: as much damage as one that failed, or all
    of its regions and more in int8. Of these the fastest is proposed whose damage is expected to lose no more than
    `1 - retention`; the gentlest where none is. Loss is taken as linear in damage, between the nearest tried on either
    side. After two failures in a row at least half of what is left is passed over.
    """
    left = _left(priced, frontier, tried, refused)
    if not left:
        return None
    allowed = _allowed(priced, tried, 1 - retention)
    first = next((place for place, mix in enumerate(left) if mix.damage <= allowed), len(left) - 1)
    recent = tried[-_FAILURES:]
    if len(recent) == _FAILURES and not any(attempt.kept for attempt in recent):
        first = max(first, len(left) // 2)
    return left[first]


def to_beat(priced: Priced, frontier: Frontier, tried: Sequence[TriedMix]) -> float:
    """Return the seconds of the fastest that keeps the contract: all in float does."""
    kept = [attempt.int8 for attempt in tried if attempt.kept]
    return min(_seconds(priced, frontier, int8) for int8 in [frozenset(), *kept])


def _left(
    priced: Priced, frontier: Frontier, tried: Sequence[TriedMix], refused: Collection[frozenset[str]]
) -> list[Mix]:
    """Return the mixtures that are worth making, from the fastest."""
    beaten = to_beat(priced, frontier, tried)
    failed = [attempt.int8 for attempt in tried if not attempt.kept]
    ceiling = min((priced.damage(int8) for int8 in failed), default=float("inf"))
    made = {*refused, *(attempt.int8 for attempt in tried)}
    return [
        mix
        for mix in frontier.mixes
        if mix.seconds * (1 + WORTH) <= beaten
        and mix.damage < ceiling
        and frozenset(mix.int8) not in made
        and not _worse_than_any(mix.int8, failed)
    ]


def _seconds(priced: Priced, frontier: Frontier, int8: frozenset[str]) -> float:
    """Return the seconds of a mixture: of the frontier's, which may be measured, or as priced."""
    return next((mix.seconds for mix in frontier.mixes if int8 == {*mix.int8}), priced.seconds(int8))


def _worse_than_any(int8: Collection[str], failed: Sequence[frozenset[str]]) -> bool:
    return any(other <= {*int8} for other in failed)


def _allowed(priced: Priced, tried: Sequence[TriedMix], loss: float) -> float:
    """Return the damage at which the loss is expected to reach a limit, on the line through the nearest two tried."""
    points = [(0.0, 0.0), *((priced.damage(attempt.int8), attempt.loss) for attempt in tried)]
    below = max((point for point in points if point[1] <= loss), default=(0.0, 0.0))
    above = min((point for point in points if point[1] > loss and point[0] > below[0]), default=None)
    if above is None:
        return float("inf")
    return below[0] + (above[0] - below[0]) * (loss - below[1]) / (above[1] - below[1])

"""Tell for a gate in which draws a faithful candidate passes it, by the test that will judge it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from titrant.runtime.contract.power import proofs
from titrant.runtime.contract.power.draws import Draws, PairedCounts
from titrant.runtime.contract.power.metrics import area_passes, metric_passes
from titrant.runtime.contract.statistics.units import NEARLY_SINGLE
from titrant.schema.cases import asks_nothing
from titrant.schema.gate import BATCH_INVARIANCE, Gate, slice_of
from titrant.schema.power import CHANGE, MOVED
from titrant.schema.values.slice import Slice

# What a gate whose cases belong to fewer units bets on: values of a row that both have right, is lost, gained, neither.
_RIGHT_OLD, _RIGHT_NEW = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])

Passes = np.ndarray | None


def passes(gate: Gate, draws: Draws, confidence: float) -> Passes:
    """Return (draws,) bool, or None for a gate that is not about answers, or whose metric is not simulated.

    None too where no answer can miss its threshold: it lets every control through and proves nothing.
    """
    test = _TESTS.get(gate.test)
    if test is None or asks_nothing(gate):
        return None
    try:
        return test(gate, draws, confidence)
    except KeyError:  # a class or a value of a subgroup of which there are no rows: never proven
        return np.zeros(draws.count, bool)


def _counted(gate: Gate, side: Slice, draws: Draws) -> PairedCounts | None:
    """Return the cases that a proportion counts; None where they are not known by count."""
    positive, among = draws.sample.positive, side
    if among.kind == "class" and gate.metric in ("sensitivity", "specificity", "kept"):
        positive, among = among.class_name, Slice()
    if among.kind == "class":
        return draws.of(among.class_name)
    kind = {"sensitivity": "positive", "kept": "positive", "specificity": "rest"}.get(gate.metric, "all")
    if kind != "all" and positive is None:
        return None
    if among.kind == "subgroup":
        return draws.inside(among, kind)
    if kind == "all":
        return draws.all()
    if kind == "rest" and len(draws.sample.sizes) > 2:
        return None  # a row of a third class may be taken for the positive one, or not
    return draws.of(str(positive)) if kind == "positive" else draws.rest(str(positive))


def _ratio(gate: Gate, draws: Draws, confidence: float) -> Passes:
    counts = _counted(gate, slice_of(gate), draws)
    if counts is None:
        return None
    met = _of_units(gate, counts, confidence)
    if met is None:
        met = proofs.paired_ratio(_fewer(counts), gate.threshold, confidence)
    if gate.preset != "bias":
        return met
    units = counts.cases * counts.share
    return np.where(units < gate.min_cases, counts.changed == 0, met)


def _drop(gate: Gate, draws: Draws, confidence: float) -> Passes:
    counts = _counted(gate, slice_of(gate), draws)
    if counts is None:
        return None
    if gate.comparison == "rise_at_most":
        counts = replace(counts, lost=counts.gained, gained=counts.lost)
    met = _of_units(gate, counts, confidence)
    return proofs.paired_drop(_fewer(counts), gate.threshold, confidence) if met is None else met


def _share(gate: Gate, draws: Draws, confidence: float) -> Passes:
    if gate.metric == BATCH_INVARIANCE:
        tried = draws.sample.tried
        good = tried - draws.generator.binomial(tried, CHANGE, draws.count)
        return proofs.share(good, np.full(draws.count, tried), gate.threshold, confidence)
    if gate.metric == "precision":
        return None
    counts = _counted(gate, slice_of(gate), draws)
    if counts is None:
        return None
    if gate.metric in ("agreement", "same_decision"):
        good, cases = counts.both + counts.neither, counts.cases
    elif gate.metric == "kept":
        good, cases = counts.both, counts.both + counts.lost
    else:
        good, cases = counts.both + (counts.lost if gate.of_original else counts.gained), counts.cases
    if counts.share < NEARLY_SINGLE:
        return _bets_on_share(gate, cases - good, cases * counts.share, counts.share, confidence)
    good, cases = _worth(good, counts.share), _worth(cases, counts.share)
    if gate.comparison == "at_most":
        return proofs.share(cases - good, cases, 1 - gate.threshold, confidence)
    return proofs.share(good, cases, gate.threshold, confidence)


def _bets_on_share(gate: Gate, bad: np.ndarray, units: np.ndarray, share: float, confidence: float) -> Passes:
    """Bet over units, as many of which hold a bad row as there are bad rows, or all hold some."""
    touched = np.minimum(bad, units)
    each = 1 - share * np.where(touched > 0, bad / np.maximum(touched, 1), 0.0)
    good = gate.comparison == "at_least"
    values = np.stack([-each, -np.ones_like(each)] if good else [each, np.ones_like(each)], axis=1)
    held = np.stack([touched, units - touched], axis=1)
    mean, highest = (-gate.threshold, 0.0) if good else (gate.threshold, 1.0)
    return proofs.bets(values, held, mean, highest=np.full(len(units), highest), confidence=confidence)


def _of_units(gate: Gate, counts: PairedCounts, confidence: float) -> np.ndarray | None:
    """Bet on units, each of which may fail whole and holds at most one changed row; None where rows are nearly units.

    What is not changed is spread evenly over the units.
    """
    if counts.share >= NEARLY_SINGLE:
        return None
    kept = gate.threshold if gate.comparison == "retention" else 1.0
    mean, highest = (0.0, kept) if gate.comparison == "retention" else (gate.threshold, 1.0)
    row = kept * _RIGHT_OLD - _RIGHT_NEW
    units = counts.cases * counts.share
    rest = (counts.both * row[0] + counts.neither * row[3]) / np.maximum(counts.both + counts.neither, 1)
    values = np.stack([rest, *(rest * (1 - counts.share) + value * counts.share for value in (row[1], row[2]))], axis=1)
    lost, gained = counts.lost, counts.gained
    held = np.stack([np.maximum(units - lost - gained, 0), lost, gained], axis=1)
    return proofs.bets(values, held, mean, highest=np.full(len(units), highest), confidence=confidence)


def _worth(count: np.ndarray, share: float) -> np.ndarray:
    return count if share >= 1 else np.asarray(count * share)


def _fewer(counts: PairedCounts) -> PairedCounts:
    return counts if counts.share >= 1 else counts.times(counts.share)


def _groups(gate: Gate, draws: Draws, confidence: float) -> Passes:
    sides = [counts for side in slice_of(gate).sides() if (counts := _counted(gate, side, draws)) is not None]
    if len(sides) != 2:
        return None
    first, second = sides
    small = [counts.cases * counts.share < gate.min_cases for counts in (first, second)]
    alike = [counts.changed == 0 for counts in (first, second)]
    met = np.zeros(draws.count, bool)
    if not (small[0] | small[1]).all():
        met = proofs.group_ratio(_fewer(first), _fewer(second), gate.threshold, confidence)
    if not (small[0] | small[1]).any():
        return met
    # A small group that keeps all its answers leaves the ratio as it was, but for what changes in the other.
    moved = np.where(
        alike[0],
        alike[1] | proofs.paired_ratio_turned(_fewer(second), gate.threshold, confidence),
        proofs.paired_ratio(_fewer(first), gate.threshold, confidence),
    )
    untouched = (alike[0] | ~small[0]) & (alike[1] | ~small[1])
    return np.where(small[0] | small[1], untouched & moved, met)


def _brier(gate: Gate, draws: Draws, confidence: float) -> Passes:
    """A decision that changes moves a case's Brier score by a half, and no other moves much."""
    if gate.comparison != "rise_at_most" or slice_of(gate).kind != "all":
        return None
    counts = draws.all()
    units = counts.cases * min(1.0, counts.share)
    move = MOVED * counts.share
    values = np.tile([0.0, move, -move], (draws.count, 1))
    held = np.stack([units - counts.changed, counts.lost, counts.gained], axis=1)
    return proofs.bets(values, held, gate.threshold, highest=np.ones(draws.count), confidence=confidence)


def _two_shares(gate: Gate, draws: Draws, confidence: float) -> Passes:
    positive = draws.sample.positive
    if positive is None or len(draws.sample.sizes) != 2:
        return None
    each = (1 + confidence) / 2
    lower = [
        proofs.share_lower(side.both + side.lost, side.cases, each)
        for side in map(_fewer, (draws.of(positive), draws.rest(positive)))
    ]
    met: np.ndarray = (lower[0] + lower[1]) / 2 >= gate.threshold
    return met


_TESTS: Mapping[str, Callable[[Gate, Draws, float], Passes]] = {
    "score_ratio": _ratio,
    "paired_difference": _drop,
    "exact_binomial": _share,
    "group_ratio": _groups,
    "paired_mean": _brier,
    "two_proportions": _two_shares,
    "delong": area_passes,
    "bootstrap": metric_passes,
}

"""Tell in which draws balanced accuracy, F1, precision and the area under the ROC curve are proven to be kept."""

import numpy as np

from titrant.runtime.contract.power import proofs
from titrant.runtime.contract.power.draws import Draws, PairedCounts
from titrant.schema.cases import LEAST_OF_A_CLASS
from titrant.schema.gate import Gate, slice_of
from titrant.schema.power import AREA, MOVED
from titrant.schema.values.slice import Slice

# comparison → the factors of the original's and the candidate's value in what is bet on
_DIFFERENCES = {"drop_at_most": (1.0, -1.0), "rise_at_most": (-1.0, 1.0)}


def metric_passes(gate: Gate, draws: Draws, confidence: float) -> np.ndarray | None:
    """Bet on what a row of each class adds to the metric; None for several classes, and without the original."""
    sample = draws.sample
    if slice_of(gate) != Slice() or gate.comparison not in (*_DIFFERENCES, "retention"):
        return None
    if gate.metric != "balanced_accuracy" and (sample.positive is None or len(sample.sizes) != 2):
        return None
    if gate.metric == "balanced_accuracy":
        rows = float(sum(sample.sizes.values()))
        shares = [rows / (size * len(sample.sizes)) for size in sample.sizes.values()]
        tables = [
            (np.full(draws.count, share), np.zeros(draws.count), np.full(draws.count, share), np.zeros(draws.count))
            for share in shares
        ]
        parts = list(draws.by_class.values())
    else:
        parts = [draws.of(str(sample.positive)), draws.rest(str(sample.positive))]
        tables = _linear(gate.metric, *parts)
    return _compare(gate, parts, tables, confidence=confidence)


Contributions = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _linear(metric: str, ill: PairedCounts, well: PairedCounts) -> list[Contributions]:
    """Return for the positive class and the rest what a row adds if it is right or wrong, by either model."""
    total, columns = ill.cases + well.cases, []
    for right, wrong in (
        (ill.both + ill.lost, well.gained + well.neither),
        (ill.both + ill.gained, well.lost + well.neither),
    ):
        called, of_class = right + wrong, ill.cases if metric == "f1" else 0
        below = np.maximum(called + of_class, 1)
        times = 2 if metric == "f1" else 1
        value, scale = times * right / below, total / below
        belongs = 1 if metric == "f1" else 0  # a row of the class counts below whatever is decided
        hit = value + (times - (1 + belongs) * value) * scale
        missed = value - belongs * value * scale
        columns.append(((hit, missed), (value, value - value * scale)))
    return [(*columns[0][side], *columns[1][side]) for side in (0, 1)]


def _compare(gate: Gate, parts: list[PairedCounts], tables: list[Contributions], *, confidence: float) -> np.ndarray:
    before, after = (gate.threshold, -1.0) if gate.comparison == "retention" else _DIFFERENCES[gate.comparison]
    values, counts, tops = [], [], []
    for part, (old_right, old_wrong, new_right, new_wrong) in zip(parts, tables, strict=True):
        old = (old_right, old_right, old_wrong, old_wrong)
        new = (new_right, new_wrong, new_right, new_wrong)
        values += [before * first + after * second for first, second in zip(old, new, strict=True)]
        counts += [part.both, part.lost, part.gained, part.neither]
        tops += [before * first + after * second for first in old[1:3] for second in new[:2]]
    share = min(part.share for part in parts)
    mean = 0.0 if gate.comparison == "retention" else gate.threshold
    held = np.stack(counts, axis=1) * share
    highest = np.max(np.stack(tops), axis=0)
    return proofs.bets(np.stack(values, axis=1), held, mean, highest=highest, confidence=confidence)


def area_passes(gate: Gate, draws: Draws, confidence: float) -> np.ndarray | None:
    """Bet on the placements of either class: of a changed case it moves by a half, of no other much.

    The test by DeLong's variance, which asks for less of such a candidate, is left out.
    """
    about = slice_of(gate)
    name = about.class_name if about.kind == "class" else draws.sample.positive
    if name is None or about.kind == "subgroup" or gate.comparison not in (*_DIFFERENCES, "retention"):
        return None
    met = np.ones(draws.count, bool)
    before, after = (gate.threshold, -1.0) if gate.comparison == "retention" else _DIFFERENCES[gate.comparison]
    mean, top = (0.0, gate.threshold) if gate.comparison == "retention" else (gate.threshold, 1.0)
    for side in (draws.of(name), draws.rest(name)):
        units = side.cases * side.share
        alike = (before + after) * AREA
        move = MOVED * side.share
        worse, better = alike - after * -move if after < 0 else alike + move, alike - move
        values = np.tile([alike, worse if worse > alike else alike + move, better], (draws.count, 1))
        held = np.stack([np.maximum(units - side.changed, 0), side.lost, side.gained], axis=1)
        proven = proofs.bets(values, held, mean, highest=np.full(draws.count, top), confidence=confidence)
        met &= proven & (units >= LEAST_OF_A_CLASS)
    return met

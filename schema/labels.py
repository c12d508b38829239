"""Which gates labels help to prove, and how few labels of which rows would."""

import math
from collections.abc import Callable
from statistics import NormalDist

from titrant.schema.contract.earlier import WHOSE
from titrant.schema.gate import EXECUTED, SHARES, Gate, slice_of
from titrant.schema.samples.binomial import binomial_cases
from titrant.schema.samples.paired import FEW_CHANGED
from titrant.schema.values.frozen import dataclass

# What a gate needs of further rows: nothing but both models' answers, labels of the rows that they decide otherwise,
# labels of all, or nothing that a row could tell.
NO_LABELS, LABELS_OF_DIFFERENT, EVERY_LABEL, NOTHING = "answers", "labels of different", "every label", "nothing"


def helped_by(gate: Gate, *, always_valid: bool = False) -> str:
    """Say what of further rows helps to prove a gate.

    In open looks (`always_valid`) labels of some rows do not: the bounds that take these hold for planned looks only.
    """
    helped = _helped_by(gate)
    return EVERY_LABEL if always_valid and helped == LABELS_OF_DIFFERENT else helped


def _helped_by(gate: Gate) -> str:
    if (
        gate.of_original
        or gate.preset in ("target", EXECUTED, *WHOSE)
        or gate.test == "not_assessable"
        or gate.metric == "batch_invariance"
    ):
        return NOTHING
    among = slice_of(gate)
    if gate.metric in SHARES and gate.metric != "kept":
        return NO_LABELS if among.kind != "class" else EVERY_LABEL
    if gate.metric == "accuracy" and among.kind != "class":
        return LABELS_OF_DIFFERENT if gate.comparison in ("retention", "drop_at_most") else EVERY_LABEL
    if gate.metric in ("sensitivity", "specificity") and gate.comparison == "retention":
        return LABELS_OF_DIFFERENT
    return LABELS_OF_DIFFERENT if gate.metric == "kept" else EVERY_LABEL


@dataclass(frozen=True)
class LabelsNeeded:
    """What proves a gate with probability 80 %: `rows` without labels beside those with labels, and labels of them.

    `labels` are of the rows that there are: None where these are too few. `rows` None: no number of rows would do.
    """

    rows: int | None
    labels: int | None


_POWER = NormalDist().inv_cdf(0.8)
# What the bound of a ratio's denominator takes from the error, as in runtime/contract/statistics/partly_labeled.py.
_DENOMINATOR = 0.1
_MOST_ROWS = 10_000_000


def labels_needed(
    gate: Gate, *, rows: int, labeled: int, over: float, confidence: float, change: float = 0.005
) -> LabelsNeeded:
    """Predict how few labels prove a gate, where `change` of the decisions change, half of them for the worse.

    `rows` are without labels, `labeled` the evaluation rows that have one; `over` is the share of all rows that the
    original has right, and that the gate counts (0..1].
    """
    margin, error = gate.threshold, 1 - confidence
    if helped_by(gate) == NO_LABELS:
        return unlabeled_cases(
            binomial_cases(1 - change, margin, confidence) if margin < 1 - change else None, rows, labeled
        )
    if gate.comparison != "drop_at_most":
        spread = math.sqrt(over * (1 - over) / max(labeled, 1))
        # Its bound varies as well, and a sample that is unlucky with it must not cost the power.
        margin = over - (NormalDist().inv_cdf(1 - error * _DENOMINATOR / 2) + _POWER) * spread
        margin *= 1 - gate.threshold
        error *= 1 - _DENOMINATOR
    if margin <= 0:
        return LabelsNeeded(None, None)
    share = change if gate.metric == "accuracy" else change * over
    expected = _Expected(margin, error, share, gate.metric != "kept", labeled)
    if not expected.proves(_MOST_ROWS, 1.0):
        return LabelsNeeded(None, None)
    needed = _smallest(lambda count: expected.proves(count, 1.0), _MOST_ROWS)
    differing = math.ceil(share * rows)
    if needed > rows:
        return LabelsNeeded(needed, None)
    fewest = _smallest(lambda labels: expected.proves(rows, labels / max(differing, 1)), differing)
    return LabelsNeeded(needed, fewest)


def unlabeled_cases(cases: int | None, rows: int, labeled: int) -> LabelsNeeded:
    """Return what is needed where `cases` of any rows prove a gate, with or without labels; None: no number does."""
    beyond = None if cases is None else max(cases - labeled, 0)
    return LabelsNeeded(beyond, None if cases is None or cases > rows + labeled else 0)


def _smallest(holds: Callable[[int], bool], most: int) -> int:
    """Return the smallest number for which a condition holds that goes on holding from there, and `most` at most."""
    low, high = -1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class _Expected:
    """What is expected of a candidate: `change` of the rows are decided otherwise, and half of them are lost.

    A loss of `margin` of the rows is to be excluded with an error; what is `gained` counts or does not.
    """

    margin: float
    error: float
    change: float
    gained: bool
    labeled: int

    def proves(self, rows: int, share: float) -> bool:
        """Whether the margin is proven with 80 % power by so many more rows, where a share of what differs is labeled.

        Exact where few rows change or none is gained, else by the score test of Tango (1998) with expected counts.
        """
        cases, half = self.labeled + rows, self.change / 2
        if not cases:
            return False
        of_further = rows / cases
        lost = half + half * (1 - share) * of_further
        gained = half * (1 - (1 - share) * of_further) if self.gained else 0.0
        if not gained or cases * (lost + gained) < FEW_CHANGED:
            if lost >= self.margin:
                return False
            exact = binomial_cases(1 - lost, 1 - self.margin, 1 - self.error)
            return exact is not None and exact <= cases
        spread = NormalDist().inv_cdf(1 - self.error) * math.sqrt(self._null(lost, gained))
        spread += _POWER * math.sqrt(lost + gained)
        return lost - gained + spread / math.sqrt(cases) <= self.margin

    def _null(self, lost: float, gained: float) -> float:
        """Return the variance of a row where the difference is the margin, from the constrained estimate of P(lost)."""
        margin = self.margin
        b = lost * (1 + 3 * margin) + gained * (1 + margin) + 2 * (1 - lost - gained) * margin
        estimate = (b + math.sqrt(max(b * b - 8 * lost * margin * (1 + margin), 0.0))) / 4
        return max(2 * estimate - margin - margin**2, lost + gained)

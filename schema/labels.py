"""Which gates labels help to prove, and how few labels of which rows would."""

import math
from statistics import NormalDist

from titrant.schema.cases import FEW_CHANGED, binomial_cases
from titrant.schema.gate import SHARES, Gate, slice_of
from titrant.schema.values.frozen import dataclass

# What a gate needs of further rows: nothing but both models' answers, labels of the rows that they decide otherwise,
# labels of all, or nothing that a row could tell.
NO_LABELS, LABELS_OF_DIFFERENT, EVERY_LABEL, NOTHING = "answers", "labels of different", "every label", "nothing"


def helped_by(gate: Gate) -> str:
    """Say what of further rows helps to prove a gate."""
    if (
        gate.of_original
        or gate.preset == "target"
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


def labels_needed(
    gate: Gate, *, rows: int, labeled: int, over: float, confidence: float, change: float = 0.005
) -> LabelsNeeded:
    """Predict how few labels prove a gate, where `change` of the decisions change, half of them for the worse.

    `rows` are without labels, `labeled` the evaluation rows that have one; `over` is the share of all rows that the
    original has right, and that the gate counts (0..1].
    """
    error, margin = 1 - confidence, gate.threshold
    if helped_by(gate) == NO_LABELS:
        needed = binomial_cases(1 - change, margin, confidence) if margin < 1 - change else None
        return LabelsNeeded(_beyond(needed, labeled), None if needed is None or needed > rows + labeled else 0)
    if gate.comparison != "drop_at_most":
        spread = math.sqrt(over * (1 - over) / max(labeled, 1))
        margin = (1 - gate.threshold) * (over - NormalDist().inv_cdf(1 - error * _DENOMINATOR / 2) * spread)
        error *= 1 - _DENOMINATOR
    share = change * (over if gate.metric != "accuracy" else 1.0)
    needed = _cases(margin, share, error) if margin > 0 else None
    if needed is None or needed > rows + labeled:
        return LabelsNeeded(_beyond(needed, labeled), None)
    return LabelsNeeded(_beyond(needed, labeled), _fewest(margin * (rows + labeled), share, rows, labeled, error))


def _beyond(cases: int | None, labeled: int) -> int | None:
    return None if cases is None else max(cases - labeled, 0)


def _cases(margin: float, change: float, error: float) -> int | None:
    """Return the cases that prove a loss below `margin`: exact where few change, else by Tango's score test."""
    exact = binomial_cases(1 - change / 2, 1 - margin, 1 - error) if change / 2 < margin < 1 else None
    if exact is not None and exact * change < FEW_CHANGED:
        return exact
    # The share that is lost, as the score test estimates it where the difference is the margin.
    b = change / 2 * (2 + 4 * margin) + 2 * (1 - change) * margin
    lost = (b + math.sqrt(max(b * b - 4 * change * margin * (1 + margin), 0.0))) / 4
    null = max(2 * lost - margin - margin**2, change)
    spread = NormalDist().inv_cdf(1 - error) * math.sqrt(null) + _POWER * math.sqrt(change)
    return math.ceil((spread / margin) ** 2)


def _fewest(allowed: float, change: float, rows: int, labeled: int, error: float) -> int:
    """Return of how many rows that change a label is needed, if those without one count as lost."""
    changed, before = math.ceil(change * rows), change * labeled
    z = NormalDist().inv_cdf(1 - error)

    def proves(labels: int) -> bool:
        waiting = changed - labels
        return waiting + z * math.sqrt(max(before + changed, 1.0)) <= allowed

    return next((labels for labels in range(changed) if proves(labels)), changed)

"""Judge gates on decisions by all rows, of which those without a label count where both models decide alike.

A row that they decide otherwise and that has no label counts as lost, or for the favourable bound as gained.
"""

from dataclasses import dataclass, replace

import numpy as np

from titrant.runtime.contract.evidence import Evidence, Unlabeled, select, slice_answers
from titrant.runtime.contract.judge import TESTS, finite, judge, open_result, result_of
from titrant.runtime.contract.single_tests import judge_share
from titrant.runtime.contract.statistics.partly_labeled import Changes, Denominator, ratio_bounds
from titrant.runtime.contract.statistics.units import unit_count
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.contract.unchanged import judge_identical
from titrant.runtime.contract.verdict import GateEstimate, meets
from titrant.runtime.values import Rows
from titrant.schema.gate import Gate, GateResult, slice_of
from titrant.schema.labels import LABELS_OF_DIFFERENT, NO_LABELS, helped_by

# Further units of a slice below which they are left out.
_FEWEST = 100
METHOD = "labels of the rows that both models decide otherwise: score test of Tango (1998), exact where few change"
OVER = ", over an exact bound of what the original has right"


def judge_with_unlabeled(gate: Gate, evidence: Evidence) -> GateResult:
    """Judge one gate as `judge` does, with the rows without labels where these tell of it."""
    further = evidence.unlabeled
    helped = helped_by(gate, always_valid=evidence.always_valid) if further is not None else ""
    if further is None or helped not in (LABELS_OF_DIFFERENT, NO_LABELS) or _few(gate, further.rows):
        return judge(gate, evidence)
    try:
        finite(evidence)
        if judge_identical(gate, evidence) is not None and _identical(further):
            return judge(gate, evidence)
        finding = (
            judge_share(gate, _pooled(evidence, further)) if helped == NO_LABELS else _judge(gate, evidence, further)
        )
    except Unassessable as unassessable:
        return open_result(gate, str(unassessable))
    count = _units(finding) + (_further_units(gate, evidence, further) if helped == LABELS_OF_DIFFERENT else 0)
    if count < gate.min_cases:
        missing = f"{count} {finding.counted}, and at least {gate.min_cases} are needed (min_cases)"
        finding = replace(finding, least=gate.min_cases, missing=missing)
    return result_of(gate, finding, evidence.confidence)


def _few(gate: Gate, rows: Rows) -> bool:
    """Whether so few further rows are in a slice, or in another value of its subgroup, that they are left out.

    They prove next to nothing, and what is said of the others must not tell of a small group (report.min_cell).
    """
    among = slice_of(gate)
    if among.kind != "subgroup":
        return unit_count(rows.units) < _FEWEST
    if among.group not in rows.subgroups:
        return True
    values = rows.subgroups[among.group]
    held = [unit_count(rows.units[values == number]) for number in range(-1, len(rows.subgroup_values[among.group]))]
    return any(0 < count < _FEWEST for count in held)


def _units(finding: GateEstimate) -> int:
    return finding.cases if finding.units is None else finding.units


def _further_units(gate: Gate, evidence: Evidence, further: Unlabeled) -> int:
    """Return how many further units may be in the denominator of what a gate compares."""
    chosen = _chosen(evidence, gate, further)
    decisions = further.original.decisions[chosen], further.candidate.decisions[chosen]
    positive = slice_answers(evidence, gate.metric, slice_of(gate)).positive
    base = outcome(gate.metric, positive, further.labels[chosen], *decisions).base
    return unit_count(further.rows.units[chosen][base])


def _identical(further: Unlabeled) -> bool:
    return np.array_equal(further.original.probabilities, further.candidate.probabilities)


def _pooled(evidence: Evidence, further: Unlabeled) -> Evidence:
    """Return what tells whether decisions are the same, which takes no label, of all rows."""
    rows = pooled_rows(evidence.rows, further.rows)
    alike = further.original.decisions == further.candidate.decisions
    alike = np.concatenate([evidence.alike, alike])
    given = evidence.original, evidence.candidate, alike, evidence.confidence
    return Evidence(rows, *given, always_valid=evidence.always_valid)


def pooled_rows(rows: Rows, further: Rows) -> Rows:
    """Return the units and subgroups of all rows, those with labels first; no row is in both, and no unit."""
    beyond = int(rows.units.max(initial=-1)) + 1 - int(further.units.min(initial=0))
    return Rows(
        role=rows.role,
        inputs={},
        labels=None,
        units=np.concatenate([rows.units, further.units + beyond]),
        ids=np.concatenate([rows.ids, further.ids]),
        classes=rows.classes,
        positive=rows.positive,
        ordered=rows.ordered,
        subgroups={name: np.concatenate([rows.subgroups[name], further.subgroups[name]]) for name in rows.subgroups},
        subgroup_values=rows.subgroup_values,
    )


@dataclass(frozen=True)
class RowOutcomes:
    """What each of some rows tells of a gate, by label (-1: none) and both decisions; arrays are (rows,) bool.

    `may_lose` and `may_gain` are rows whose label would say so, `lost` and `gained` those whose label does; `base` are
    rows that are decided alike and may be in the denominator, `inside` those that are, where there is a label.
    """

    labeled: np.ndarray
    may_lose: np.ndarray
    may_gain: np.ndarray
    lost: np.ndarray
    gained: np.ndarray
    base: np.ndarray
    inside: np.ndarray

    @property
    def waiting(self) -> np.ndarray:
        """Rows whose label would tell something."""
        return ~self.labeled & (self.may_lose | self.may_gain)


def outcome(
    metric: str, positive: int | None, labels: np.ndarray, original: np.ndarray, candidate: np.ndarray
) -> RowOutcomes:
    """Read what rows (rows,) tell of accuracy, sensitivity, specificity, or of what the original caught (kept)."""
    differ, labeled = original != candidate, labels >= 0
    if metric == "accuracy":
        may_lose = may_gain = differ
        base, inside = ~differ, original == labels
        lost, gained = differ & inside, differ & (candidate == labels)
    elif metric == "specificity":
        may_lose, may_gain = (
            differ & (caught == positive) & (missed != positive)
            for caught, missed in ((candidate, original), (original, candidate))
        )
        inside = labels != positive
        base, lost, gained = ~differ & (original != positive), may_lose & inside, may_gain & inside
    else:
        inside = labels == positive
        may_lose = differ & (original == positive)
        may_gain = differ & (candidate == positive) & (metric != "kept")
        base, lost, gained = ~differ & (original == positive), may_lose & inside, may_gain & inside
    return RowOutcomes(labeled, may_lose, may_gain, lost & labeled, gained & labeled, base, inside & labeled)


def _judge(gate: Gate, evidence: Evidence, further: Unlabeled) -> GateEstimate:
    """Bound what is lost and gained over all rows, and for a ratio what the original has right."""
    among = slice_of(gate)
    seen = slice_answers(evidence, gate.metric, among)
    if gate.metric != "accuracy" and seen.positive is None:
        raise Unassessable(f"{gate.metric} needs a class: name data.positive, or use the slice `class X`")
    with_labels = TESTS[gate.test](gate, evidence)
    chosen = _chosen(evidence, gate, further)
    evaluated = outcome(gate.metric, seen.positive, seen.labels, seen.original.decisions, seen.candidate.decisions)
    more = outcome(
        gate.metric, seen.positive, further.labels[chosen], further.original.decisions[chosen],
        further.candidate.decisions[chosen],
    )  # fmt: skip
    beyond = int(evidence.rows.units.max(initial=-1)) + 1
    units = np.concatenate([seen.units, further.rows.units[chosen] + beyond])
    gathered = _Gathered(evaluated, more, units, seen.units)
    words = f"{with_labels.observed}; of {len(chosen):,} cases without labels {gathered.words}"
    lower, upper = gathered.bounds(gate, evidence.confidence)
    waiting = int(more.waiting.sum())
    if waiting:
        words += f" ({_advice(gate, gathered, evidence.confidence, waiting)})"
    return replace(
        with_labels,
        estimate=with_labels.estimate if waiting else gathered.estimate(gate),
        lower=lower, upper=upper, method=METHOD + (OVER if gate.comparison != "drop_at_most" else ""),
        changed=gathered.changed, observed=words,
        clean="" if gathered.changed else "no change", counted="rows, with a label of each that is decided otherwise",
        proves_with=None,
    )  # fmt: skip


def _chosen(evidence: Evidence, gate: Gate, further: Unlabeled) -> np.ndarray:
    """Return the places of the rows without labels that a gate is about."""
    among = slice_of(gate)
    if among.kind != "subgroup":
        return np.arange(len(further.rows))
    mine = Evidence(further.rows, None, None, np.empty(0, bool))
    try:
        return np.flatnonzero(select(mine, among)[0])
    except Unassessable:
        return np.empty(0, np.int64)


@dataclass(frozen=True)
class _Gathered:
    """Rows with labels and further ones, their units, and those of the first alone."""

    evaluated: RowOutcomes
    more: RowOutcomes
    units: np.ndarray
    known_units: np.ndarray

    def _changes(self, lost: np.ndarray, gained: np.ndarray) -> Changes:
        """Join what further rows lose and gain with what rows with labels do."""
        return Changes(
            np.concatenate([self.evaluated.lost, lost]), np.concatenate([self.evaluated.gained, gained]), self.units
        )

    @property
    def worst(self) -> Changes:
        """Every row that waits for a label is lost, if it may be."""
        changes = self._changes(np.where(self.more.labeled, self.more.lost, self.more.may_lose), self.more.gained)
        return replace(changes, waiting=int((~self.more.labeled & self.more.may_lose).sum()))

    @property
    def best(self) -> Changes:
        """Every row that waits for a label is gained, if it may be."""
        return self._changes(self.more.lost, np.where(self.more.labeled, self.more.gained, self.more.may_gain))

    def losing(self, count: int) -> Changes:
        """Of the rows that wait for a label so many are lost, and the others neither lost nor gained."""
        lost = self.more.lost.copy()
        lost[np.flatnonzero(self.more.waiting & self.more.may_lose)[:count]] = True
        return self._changes(lost, self.more.gained)

    @property
    def over(self) -> Denominator:
        """What a ratio is over: only labels that were given whatever the models answer tell how much of it there is."""
        base = self.evaluated.base
        rows = np.concatenate([base, self.more.base])
        return Denominator(rows, self.units, self.evaluated.inside[base], self.known_units[base])

    @property
    def changed(self) -> int:
        """How many rows decide the gate, or would with a label."""
        return int(self.worst.counts.changed + (self.more.waiting & ~self.more.may_lose).sum())

    @property
    def words(self) -> str:
        """What is seen of the further rows."""
        more = self.more
        waiting = int(more.waiting.sum())
        parts = f"{int((more.may_lose | more.may_gain).sum()):,} decided otherwise: "
        parts += f"{int(more.lost.sum())} lost, {int(more.gained.sum())} gained"
        return parts + (f", {waiting:,} without a label, counted as lost" if waiting else "")

    def estimate(self, gate: Gate) -> float | None:
        """Return what the gate compares, where every row that tells something has a label."""
        counts = self.worst.counts
        net = (counts.gained - counts.lost) / counts.cases
        if gate.comparison == "drop_at_most":
            return -net
        over = self.over.estimate + counts.lost / counts.cases
        return 1 + net / over if over else None

    def bounds(self, gate: Gate, confidence: float, worst: Changes | None = None) -> tuple[float, float]:
        """Return the bounds of what the gate compares."""
        worst = self.worst if worst is None else worst
        if gate.comparison == "drop_at_most":
            lower, _ = worst.bounds(confidence, gate.threshold)
            _, upper = self.best.bounds(confidence, gate.threshold)
            return -upper, -lower
        return ratio_bounds(worst, self.best, self.over, confidence, gate.threshold)

    def proves(self, gate: Gate, confidence: float, lost: int) -> bool:
        """Whether the gate would be proven if so many of the rows that wait for a label were lost."""
        lower, upper = self.bounds(gate, confidence, self.losing(lost))
        return meets(gate, upper if gate.comparison == "drop_at_most" else lower)


def _advice(gate: Gate, gathered: _Gathered, confidence: float, waiting: int) -> str:
    """Say what labels would prove: up to how many of the rows that wait for one may turn out to be lost."""
    if not gathered.proves(gate, confidence, 0):
        return "no label of theirs proves it: more rows do"
    low, high = 0, waiting + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if gathered.proves(gate, confidence, middle) else (low, middle)
    if low >= waiting:
        return "it is proven without their labels"
    return f"their labels prove it where at most {low:,} of them are lost: `titrant label` writes these rows"

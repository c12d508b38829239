"""Judge a share of cases by exact binomial bounds: what stays caught, what is decided alike, absolute proportions."""

from dataclasses import dataclass

import numpy as np

from titrant.runtime.contract.binomial import lower_bound, upper_bound
from titrant.runtime.contract.clusters import shrink, unit_count
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.finding import Finding
from titrant.runtime.contract.metrics import METRICS, hits
from titrant.runtime.contract.slices import Slice, look, select
from titrant.runtime.contract.unassessable import Unassessable
from titrant.schema.gate import Gate

METHOD = "exact binomial bound (Clopper and Pearson)"
CLUSTERED = ", rows of one unit counted as fewer cases (Korn and Graubard)"


@dataclass(frozen=True)
class _Share:
    """Which of the counted cases are good, and how to say so."""

    good: np.ndarray
    units: np.ndarray
    original: float | None
    observed: str
    clean: str


def judge_share(gate: Gate, evidence: Evidence) -> Finding:
    """Bound the share of good cases among those that the metric counts."""
    share = _share(gate, evidence)
    cases, good = len(share.good), int(share.good.sum())
    if not cases:
        raise Unassessable(f"no case counts for {gate.metric.replace('_', ' ')}: {share.observed}")
    estimate = good / cases
    rarer = ~share.good if good * 2 >= cases else share.good
    factor = shrink(share.good - estimate, rarer, share.units, evidence.confidence)

    def bounds(times: float) -> tuple[float, float]:
        count, among = good * factor * times, cases * factor * times
        return lower_bound(count, among, evidence.confidence), upper_bound(count, among, evidence.confidence)

    def proves(times: float) -> bool:
        lower, upper = bounds(times)
        return upper <= gate.threshold if gate.comparison == "at_most" else lower >= gate.threshold

    lower, upper = bounds(1.0)
    units = unit_count(share.units)
    return Finding(
        estimate, lower, upper, share.original, estimate, cases, cases - good,
        METHOD + (CLUSTERED if units < cases else ""), share.observed,
        clean=share.clean if good == cases else "", units=units, proves_with=proves,
    )  # fmt: skip


def _share(gate: Gate, evidence: Evidence) -> _Share:
    if gate.metric in ("agreement", "same_decision"):
        chosen, words = select(evidence, gate.slice)
        good = evidence.alike[chosen]
        what = "decisions" if evidence.original is not None else "answers"
        observed = f"{int((~good).sum())} of {len(good)} {what}{words} differ from the original's"
        return _Share(good, evidence.rows.units[chosen], None, observed, "no difference")
    cases = look(evidence, gate.metric, gate.slice)
    if gate.metric == "kept":
        return _kept(cases)
    if gate.metric == "precision":
        return _precision(cases)
    counted, right = hits(gate.metric, cases.candidate.decisions, cases.labels, cases.positive)
    _need_positive(cases, gate.metric)
    before = METRICS[gate.metric](cases.original, cases.labels, cases.positive)
    good = right[counted]
    noun, verb = {
        "accuracy": ("cases", "right"),
        "sensitivity": (f"{cases.positive_name} cases", "caught"),
        "specificity": (f"cases that are not {cases.positive_name}", "left alone"),
    }[gate.metric]
    observed = f"{int(good.sum())} of {len(good)} {noun}{cases.words} {verb}"
    return _Share(good, cases.units[counted], before, observed, "no miss")


def _kept(cases: Slice) -> _Share:
    _need_positive(cases, "kept")
    caught = (cases.labels == cases.positive) & (cases.original.decisions == cases.positive)
    good = cases.candidate.decisions[caught] == cases.positive
    lost = f"{int((~good).sum())} of {len(good)} {cases.positive_name} cases{cases.words} that the original caught lost"
    return _Share(good, cases.units[caught], 1.0 if len(good) else None, lost, "no loss")


def _precision(cases: Slice) -> _Share:
    _need_positive(cases, "precision")
    flagged = cases.candidate.decisions == cases.positive
    good = cases.labels[flagged] == cases.positive
    before = METRICS["precision"](cases.original, cases.labels, cases.positive)
    observed = f"{int(good.sum())} of {len(good)} cases{cases.words} called {cases.positive_name} are"
    return _Share(good, cases.units[flagged], before, observed, "no false alarm")


def _need_positive(cases: Slice, metric: str) -> None:
    if cases.positive is None and metric != "accuracy":
        raise Unassessable(f"{metric} needs a class: name data.positive, or use the slice `class X`")

"""Judge a metric of the user's own that has one number for all cases, by resampling where that can be relied on.

Nothing is known of the function but its numbers. The bounds of the bootstrap are taken where every row is a unit,
where each class has seen enough changed decisions to show what changes do, and where half as many cases give numbers
about √2 times as far apart, as they do of every metric that settles as cases are added; a maximum does not.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, SliceAnswers, Unassessable, slice_answers
from titrant.runtime.contract.own.call import cases_of, function_of, set_value
from titrant.runtime.contract.paired_tests import compared
from titrant.runtime.contract.statistics.means import BOOTSTRAP, LEAST_CHANGED, RESAMPLES, bootstrap_bounds
from titrant.runtime.contract.statistics.units import unit_count
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.gate import Gate, slice_of

# Resamples of half the cases, and how many times as far apart their numbers may lie: √2 within what these resamples
# and small samples do to it.
_HALF_RESAMPLES, _HALF_SPREAD = 400, (1.2, 1.8)


def judge_own_set(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound what is compared from 2,000 resamples of the cases, or say why no bound can be relied on."""
    if evidence.always_valid:
        raise Unassessable("no bound of it holds at any number of looks (validation.looks: open)")
    cases, call = _asked(gate, evidence)
    before, after, estimate = _compared(gate, call, cases.original, cases.candidate, np.arange(len(cases.labels)))
    count = len(cases.labels)
    changed = _changed(gate, cases)
    finding = GateEstimate(
        estimate, None, None, before, after, count, unit_count(cases.units[changed]), BOOTSTRAP,
        f"{gate.metric}{cases.words} {before:.4f} → {after:.4f} over {count} cases", units=unit_count(cases.units),
    )  # fmt: skip
    missing = _unreliable(gate, cases, finding)
    if missing:
        return replace(finding, missing=missing)
    generator = np.random.default_rng(evidence.seed)

    def drawn(rows: int) -> float:
        places = generator.integers(0, count, rows)
        return _compared(gate, call, cases.original, cases.candidate, places)[2]

    try:
        resampled = np.array([drawn(count) for _ in range(RESAMPLES)])
        halves = np.array([drawn(count // 2) for _ in range(_HALF_RESAMPLES)])
    except Unassessable as unassessable:
        return replace(finding, missing=f"of a resample of the cases: {unassessable}")
    spread = float(resampled.std())
    ratio = float(halves.std()) / spread if spread > 0 else 0.0
    if not _HALF_SPREAD[0] <= ratio <= _HALF_SPREAD[1]:
        missing = (
            f"half as many cases spread it {ratio:.2f} times as far, and not about 1.41 times: "
            "it does not settle as a mean does, and resampling bounds it nowhere"
        )
        return replace(finding, missing=missing)
    bounds = bootstrap_bounds(resampled, estimate, evidence.confidence)
    if bounds is None:
        return replace(finding, missing="no resample of the cases may leave it undefined")
    return replace(finding, lower=bounds[0], upper=bounds[1])


def set_estimate(gate: Gate, evidence: Evidence) -> float | None:
    """Return what the gate compares, without bounds; None where it is not defined."""
    try:
        cases, call = _asked(gate, evidence)
        return _compared(gate, call, cases.original, cases.candidate, np.arange(len(cases.labels)))[2]
    except Unassessable:
        return None


Call = Callable[[Answers, np.ndarray], float]


def _asked(gate: Gate, evidence: Evidence) -> tuple[SliceAnswers, Call]:
    """Return the cases of a gate, and what asks the user's function of some of them (places, with repetition)."""
    own = gate.own
    if own is None:
        raise Unassessable("its declaration is missing")
    cases = slice_answers(evidence, gate.metric, slice_of(gate))
    function: Callable[..., Any] = function_of(gate.metric, own)

    def call(answers: Answers, places: np.ndarray) -> float:
        of_model = cases_of(evidence, answers.of(places), cases.labels[places])
        return set_value(function, gate.metric, own, of_model)

    return cases, call


def _compared(
    gate: Gate, call: Call, original: Answers, candidate: Answers, places: np.ndarray
) -> tuple[float, float, float]:
    before, after = call(original, places), call(candidate, places)
    first, second = before, after
    if gate.comparison == "retention" and gate.own is not None and gate.own.better == "lower":
        first, second = after, before
    value = compared(gate.comparison, first, second)
    if value is None:
        raise Unassessable("what it would be divided by is 0")
    return before, after, value


def _changed(gate: Gate, cases: SliceAnswers) -> np.ndarray:
    """Return which decisions tell of what is compared (rows,) bool: changed ones, of a value alone the wrong ones."""
    alone = gate.comparison in ("at_least", "at_most")
    other = cases.labels if alone else cases.original.decisions
    return np.asarray(cases.candidate.decisions != other)


def _unreliable(gate: Gate, cases: SliceAnswers, finding: GateEstimate) -> str:
    """Say why resampling these cases would not show what a metric can do; "" where it does."""
    if finding.units != finding.cases:
        return "several rows belong to one unit, and a set of rows is resampled row by row"
    changed = _changed(gate, cases)
    fewest = min(int((changed & (cases.labels == label)).sum()) for label in np.unique(cases.labels))
    if fewest < LEAST_CHANGED:
        kind = "wrong" if gate.comparison in ("at_least", "at_most") else "changed"
        return (
            f"of a class {fewest} decisions are {kind}, and resampling shows what such decisions do from "
            f"{LEAST_CHANGED} on: a metric with unit='case' is bounded by its range instead"
        )
    return ""

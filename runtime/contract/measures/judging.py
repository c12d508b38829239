"""Judge every gate, a metric of the user's own by its declared range, or by resampling where it has one number.

Of one number for all cases nothing is known but itself. The bounds of the bootstrap are taken where every row is a
unit, where each class has seen enough changed decisions to show what changes do, and where half as many cases give
numbers about √2 times as far apart, as they do of every metric that settles as cases are added; a maximum does not.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from titrant.runtime.contract.evidence import Evidence, select
from titrant.runtime.contract.judge import Tests, judge
from titrant.runtime.contract.measures.bounded import CaseValues, judge_bounded, judge_net_benefit
from titrant.runtime.contract.measures.own_metric import MetricCases, both_models, case_values, function_of, set_value
from titrant.runtime.contract.measures.recalibration import judge_recalibration
from titrant.runtime.contract.measures.stratified import STRATIFIED
from titrant.runtime.contract.paired_tests import compared
from titrant.runtime.contract.statistics.compared import box
from titrant.runtime.contract.statistics.means import BOOTSTRAP, LEAST_CHANGED, RESAMPLES, bootstrap_bounds
from titrant.runtime.contract.statistics.units import unit_count
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.contract.unlabeled.judging import judge_with_unlabeled
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.gate import Gate, GateResult, slice_of
from titrant.schema.recipe.own_metric import OwnMetric

HALVED = " at half the error"
# Resamples of half the cases, and how many times as far apart their numbers may lie: √2 within what these resamples
# and small samples do to it.
_HALF_RESAMPLES, _HALF_SPREAD = 400, (1.2, 1.8)


def judge_own_case(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound a metric that has a number for each case, within the range that it declares."""
    own = _declared(gate)
    chosen, words = select(evidence, slice_of(gate))
    values = []
    for name, cases in zip(("original", "candidate"), both_models(evidence), strict=True):
        key = ("own", name, gate.metric)
        if key not in evidence.made:
            evidence.made[key] = case_values(gate.metric, own, cases)
        values.append(evidence.made[key][chosen])
    corners = box((own.low, own.high), (own.low, own.high))
    said = f"{gate.metric}{words} over {len(values[0])} cases"
    compared_values = CaseValues(
        values[0], values[1], corners, evidence.rows.units[chosen], said, own.better == "lower"
    )
    return judge_bounded(gate, evidence, compared_values)


def _declared(gate: Gate) -> OwnMetric:
    if gate.own is None:
        raise Unassessable("its declaration is missing")
    return gate.own


def judge_own_set(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound what is compared from 2,000 resamples of the cases, or say why no bound can be relied on."""
    if evidence.always_valid:
        raise Unassessable("no bound of it holds at any number of looks (validation.looks: open)")
    chosen, words = select(evidence, slice_of(gate))
    places = np.flatnonzero(chosen)
    original, candidate = (cases.at(places) for cases in both_models(evidence))
    ask = _asking(gate, original, candidate)
    count, units = len(places), unit_count(evidence.rows.units[places])
    before, after, estimate = ask(np.arange(count))
    finding = GateEstimate(
        estimate, None, None, before, after, count, None, BOOTSTRAP + HALVED,
        f"{gate.metric}{words} {before:.4f} → {after:.4f} over {count} cases", units=units,
    )  # fmt: skip
    missing = _unreliable(gate, original, candidate) or _in_units(finding)
    if missing:
        return replace(finding, missing=missing)
    generator = np.random.default_rng(evidence.seed)

    def drawn(rows: int) -> float:
        return ask(generator.integers(0, count, rows))[2]

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
            "it does not settle as a mean does, and resampling does not bound it"
        )
        return replace(finding, missing=missing)
    # Of a function that nobody knows half of what may go wrong is kept back.
    bounds = bootstrap_bounds(resampled, estimate, (1 + evidence.confidence) / 2)
    if bounds is None:
        return replace(finding, missing="no resample of the cases may leave it undefined")
    return replace(finding, lower=bounds[0], upper=bounds[1])


def _asking(
    gate: Gate, original: MetricCases, candidate: MetricCases
) -> Callable[[np.ndarray], tuple[float, float, float]]:
    """Return what asks the user's function of both models at some places: its two numbers, and what is compared."""
    own = _declared(gate)
    function = function_of(gate.metric, own)
    turned = gate.comparison == "retention" and own.better == "lower"

    def ask(places: np.ndarray) -> tuple[float, float, float]:
        before, after = (set_value(function, gate.metric, own, cases.at(places)) for cases in (original, candidate))
        value = compared(gate.comparison, after, before) if turned else compared(gate.comparison, before, after)
        if value is None:
            raise Unassessable("what it would be divided by is 0")
        return before, after, value

    return ask


def _in_units(finding: GateEstimate) -> str:
    if finding.units == finding.cases:
        return ""
    return "several rows belong to one unit, and a set of rows is resampled row by row"


def _unreliable(gate: Gate, original: MetricCases, candidate: MetricCases) -> str:
    """Say why resampling these cases would not show what a metric can do; "" where it does.

    A value alone asks for wrong decisions in each class, what is compared with the original for changed ones.
    """
    if candidate.decisions is None or original.decisions is None:
        return "resampling is relied on where decisions change, and numbers change everywhere: declare unit='case'"
    if candidate.decisions.ndim > 1:
        return "resampling is relied on where each case has one decision, and here it has many: declare unit='case'"
    alone = gate.comparison in ("at_least", "at_most")
    changed = candidate.decisions != (candidate.labels if alone else original.decisions)
    fewest = min(int((changed & (candidate.labels == label)).sum()) for label in np.unique(candidate.labels))
    if fewest >= LEAST_CHANGED:
        return ""
    kind = "wrong" if alone else "changed"
    return (
        f"of a class {fewest} decisions are {kind}, and resampling shows what such decisions do from "
        f"{LEAST_CHANGED} on: a metric with unit='case' is bounded by its range instead"
    )


TESTS: Tests = {
    "bounded_mean": judge_net_benefit,
    "recalibration": judge_recalibration,
    "own_case": judge_own_case,
    "own_set": judge_own_set,
}


def judge_every(gate: Gate, evidence: Evidence) -> GateResult:
    """Judge one gate: by one of these tests on evaluation rows alone, by any other with rows without labels too.

    Where there are strata, these have tests of their own.
    """
    tests = {**TESTS, **STRATIFIED} if evidence.stratified else TESTS
    return judge(gate, evidence, tests) if gate.test in tests else judge_with_unlabeled(gate, evidence)

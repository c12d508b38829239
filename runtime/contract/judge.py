"""Judge every gate of a contract by the test it names, and conclude whether a candidate may be released."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from titrant.runtime.contract.case_tests import judge_case_groups, judge_cases, judge_set, of_one_label, slice_scores
from titrant.runtime.contract.controls import JudgeGate, put_to_controls
from titrant.runtime.contract.evidence import Evidence, beside
from titrant.runtime.contract.paired_tests import (
    Paired,
    judge_auroc,
    judge_bootstrap,
    judge_brier,
    judge_difference,
    judge_retention,
    paired,
)
from titrant.runtime.contract.single_tests import (
    judge_counted,
    judge_executed,
    judge_groups,
    judge_share,
    judge_timed,
    judge_two_proportions,
)
from titrant.runtime.contract.statistics.special import binomial_above
from titrant.runtime.contract.tasks.scores import CaseScores, Unassessable
from titrant.runtime.contract.unchanged import judge_identical, judge_left_alone
from titrant.runtime.contract.verdict import GateEstimate, conclude, needed_cases, original_misses, reason, verdict
from titrant.schema.gate import OFFLINE, Contract, Gate, GateResult, Judgement, slice_of

TESTS: Mapping[str, Callable[[Gate, Evidence], GateEstimate]] = {
    "score_ratio": judge_retention,
    "paired_difference": judge_difference,
    "exact_binomial": judge_share,
    "two_proportions": judge_two_proportions,
    "group_ratio": judge_groups,
    "delong": judge_auroc,
    "paired_mean": judge_brier,
    "bootstrap": judge_bootstrap,
    "order_statistic": judge_timed,
    OFFLINE: judge_timed,
    "case_means": judge_cases,
    "case_quantiles": judge_cases,
    "case_groups": judge_case_groups,
    "image_bootstrap": judge_set,
    "counted": judge_counted,
    "read_back": judge_executed,
}


Tests = Mapping[str, Callable[[Gate, Evidence], GateEstimate]]


def judge(gate: Gate, evidence: Evidence, tests: Tests = TESTS) -> GateResult:
    """Answer PASS, FAIL or INCONCLUSIVE for one gate.

    Pure: the same evidence gives the same answer. What cannot be computed (a missing metric, NaN, no such cases, a
    test or metric that is not known) is INCONCLUSIVE with the reason, never PASS.
    """
    if gate.test == "not_assessable":
        return open_result(gate, gate.assumption or "its facts are missing")
    if gate.of_original:
        # The original itself is on trial.
        cases = None if evidence.cases is None else evidence.cases.permuted(np.arange(len(evidence.rows)))
        evidence = replace(evidence, candidate=evidence.original, cases=cases)
    try:
        evidence = of_one_label(gate, evidence)
        finite(evidence)
        if gate.test not in tests:
            raise Unassessable(f"there is no test {gate.test} in this version")
        left_alone = judge_left_alone(gate, evidence) or judge_identical(gate, evidence)
        finding = left_alone or tests[gate.test](gate, evidence)
    except Unassessable as unassessable:
        return open_result(gate, str(unassessable))
    count = finding.cases if finding.units is None else finding.units
    if left_alone is None and count < gate.min_cases:
        missing = f"{count} {finding.counted}, and at least {gate.min_cases} are needed (min_cases)"
        finding = replace(finding, least=gate.min_cases, missing=missing)
    return result_of(gate, finding, evidence.confidence)


def judgement(contract: Contract, candidate: str, evidence: Evidence, judge_gate: JudgeGate = judge) -> Judgement:
    """Judge every gate, put it to answers that it must refuse, and say whether the candidate may be released."""
    judged = tuple(_beside(gate, evidence, judge_gate) for gate in contract.gates)
    results = name_harmed(contract.gates, judged, evidence)
    return conclude(contract, candidate, put_to_controls(contract, results, evidence, judge_gate))


def _beside(gate: Gate, evidence: Evidence, judge_gate: JudgeGate) -> GateResult:
    """Judge a gate beside the model that it compares with: the original, that one fine-tuned, or an earlier release."""
    try:
        return judge_gate(gate, beside(gate, evidence))
    except Unassessable as unassessable:
        return open_result(gate, str(unassessable))


def result_of(gate: Gate, finding: GateEstimate, confidence: float) -> GateResult:
    """Return what a gate answers by its estimate and bounds."""
    # An infinite bound says nothing, and JSON could not hold it.
    lower, upper = _number(finding.lower), _number(finding.upper)
    finding = replace(finding, lower=lower, upper=upper, estimate=_number(finding.estimate))
    if finding.estimate is None:
        return open_result(gate, f"{finding.observed}; the estimate is not a number")
    answer = verdict(gate, finding)
    needed = needed_cases(gate, finding, confidence) if answer == "INCONCLUSIVE" else None
    result = GateResult(
        gate=gate.id, verdict=answer, estimate=finding.estimate, lower=lower, upper=upper,
        original=_number(finding.original), candidate=_number(finding.candidate), cases=finding.cases,
        changed=finding.changed, needed_cases=needed,
        reason=reason(gate, finding, answer, needed, confidence), method=finding.method, units=finding.units,
        p_value=finding.p_value,
    )  # fmt: skip
    if not original_misses(gate, result):
        return result
    return replace(result, reason=f"{result.reason}; the original itself misses this gate, with {result.original:.4f}")


def open_result(gate: Gate, why: str) -> GateResult:
    """Return the answer of a gate that cannot be assessed."""
    return GateResult(gate.id, "INCONCLUSIVE", None, None, None, None, None, 0, None, None, why, "none")


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def finite(evidence: Evidence) -> None:
    """Raise Unassessable where a model's answers are no numbers."""
    for name, answers in (("original", evidence.original), ("candidate", evidence.candidate)):
        if ("finite", name) not in evidence.made:
            evidence.made["finite", name] = answers is None or bool(np.isfinite(answers.probabilities).all())
        if not evidence.made["finite", name]:
            raise Unassessable(f"the {name} answers NaN or infinity for some cases")


def name_harmed(gates: Sequence[Gate], results: Sequence[GateResult], evidence: Evidence) -> tuple[GateResult, ...]:
    """Add to the paired change of each subgroup whether it is shown to be harmed; verdicts stay as they are.

    One exact sign test a subgroup (more units that lose than that gain), Holm's correction over all of them:
    many are looked at, and only here is a statement made that holds for one of them by itself.
    """
    p_values: dict[int, float] = {}
    for place, gate in enumerate(gates):
        if gate.preset == "bias" and gate.test in ("score_ratio", "case_means"):
            try:
                p_values[place] = _p_value(gate, evidence)
            except Unassessable:
                continue
    if not p_values:
        return tuple(results)
    corrected = dict(zip(p_values, adjusted(list(p_values.values())), strict=True))
    return tuple(
        replace(result, reason=result.reason + _harm_clause(corrected[place], evidence.confidence, len(p_values)))
        if place in corrected
        else result
        for place, result in enumerate(results)
    )


def _p_value(gate: Gate, evidence: Evidence) -> float:
    import numpy as np

    cases: CaseScores | Paired
    if gate.test == "case_means":
        cases = slice_scores(gate.metric, slice_of(gate), evidence)
        lost = cases.candidate - cases.original if cases.less_is_better else cases.original - cases.candidate
    else:
        cases = paired(gate.metric, slice_of(gate), evidence)
        lost = cases.original.astype(float) - cases.candidate
    _, index = np.unique(cases.units, return_inverse=True)
    net = np.bincount(index, weights=lost)
    return harm(int((net > 0).sum()), int((net < 0).sum()))


def _harm_clause(p_value: float, confidence: float, groups: int) -> str:
    if p_value > 1 - confidence:
        return ""
    return f"; this subgroup is harmed (sign test, p = {p_value:.2g} after Holm's correction for {groups} subgroups)"


def adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p-values (1979), in the order given.

    Over all that are below alpha, the chance that any is wrong is at most alpha.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return tuple(corrected)


def harm(lost: int, gained: int) -> float:
    """Return the p-value of "no more is lost than gained": the exact sign test on the changed cases."""
    return float(binomial_above(lost - 1, lost + gained, 0.5)) if lost and gained + lost else 1.0

"""Judge one gate: PASS, FAIL or INCONCLUSIVE, from a bound, with a reason that a person understands."""

import math
from collections.abc import Callable, Mapping

from titrant.runtime.contract import proportion_tests, score_tests, target_tests
from titrant.runtime.contract.evidence import Evidence, Finding, nothing
from titrant.schema.binomial_cases import proof_cases, zero_failure_cases
from titrant.schema.gate import Gate, GateResult, Verdict

TESTS: Mapping[str, Callable[[Gate, Evidence], Finding]] = {
    "exact_binomial": proportion_tests.share,
    "score_ratio": proportion_tests.retention,
    "paired_difference": proportion_tests.difference,
    "group_ratio": proportion_tests.groups,
    "paired_mean": score_tests.brier,
    "delong": score_tests.area,
    "bootstrap": score_tests.resampled,
    "order_statistic": target_tests.timed,
    "counted": target_tests.counted,
    "not_assessable": lambda gate, _: nothing(f"not assessable: {gate.assumption}"),
}
# Comparisons that hold when the quantity is small.
UPPER = ("at_most", "drop_at_most", "rise_at_most")


def judge(gate: Gate, evidence: Evidence) -> GateResult:
    """Answer one gate. What cannot be computed is INCONCLUSIVE, never PASS."""
    try:
        finding = TESTS[gate.test](gate, evidence)
    except KeyError as missing:
        finding = nothing(f"not assessable: there is no {missing.args[0]}")
    if not _finite(finding):
        finding = nothing("not assessable: the metric is not a finite number", finding.cases)
    few = finding.cases < gate.min_cases
    verdict: Verdict = "INCONCLUSIVE" if few else _verdict(gate, finding)
    needed = _needed(gate, finding, evidence.confidence) if verdict == "INCONCLUSIVE" else None
    return GateResult(
        gate=gate.id,
        verdict=verdict,
        estimate=finding.estimate,
        lower=finding.lower,
        upper=finding.upper,
        original=finding.original,
        candidate=finding.candidate,
        cases=finding.cases,
        changed=finding.changed,
        needed_cases=needed,
        reason=_reason(gate, finding, verdict, needed, few),
        method=finding.method,
    )


def meets(gate: Gate, estimate: float | None) -> bool:
    """Say whether a point estimate is on the right side of the threshold; it proves nothing."""
    if estimate is None:
        return False
    return estimate <= gate.threshold if gate.comparison in UPPER else estimate >= gate.threshold


def _finite(finding: Finding) -> bool:
    numbers = (finding.estimate, finding.lower, finding.upper)
    return all(number is None or math.isfinite(number) for number in numbers)


def _verdict(gate: Gate, finding: Finding) -> Verdict:
    lower, upper, threshold = finding.lower, finding.upper, gate.threshold
    if gate.comparison in UPPER:
        if upper is not None and upper <= threshold:
            return "PASS"
        return "FAIL" if lower is not None and lower > threshold else "INCONCLUSIVE"
    if lower is not None and lower >= threshold:
        return "PASS"
    return "FAIL" if upper is not None and upper < threshold else "INCONCLUSIVE"


def _needed(gate: Gate, finding: Finding, confidence: float) -> int | None:
    """Return how many cases would prove the gate if what was observed went on; None where no number would."""
    least = max(gate.min_cases, 1)
    if gate.test == "exact_binomial" and 0 < gate.threshold < 1:
        if not finding.changed:
            return max(least, zero_failure_cases(gate.threshold, confidence))
        if finding.estimate is not None and finding.estimate > gate.threshold:
            return max(least, _same_rate(gate.threshold, finding, confidence))
        return None
    bound = finding.upper if gate.comparison in UPPER else finding.lower
    if finding.estimate is None or bound is None or not meets(gate, finding.estimate):
        return gate.min_cases or None
    gap = abs(finding.estimate - gate.threshold)
    if gap <= 0:
        return gate.min_cases or None
    # Bounds close in with the square root of the number of cases.
    return max(least, math.ceil(finding.cases * (abs(finding.estimate - bound) / gap) ** 2))


def _same_rate(threshold: float, finding: Finding, confidence: float) -> int:
    """Return the cases at which the observed rate of losses would prove the threshold."""
    assert finding.changed is not None
    rate = finding.changed / finding.cases
    cases = finding.cases
    while proof_cases(math.ceil(rate * cases), threshold, confidence) > cases:
        cases = math.ceil(cases * 1.05) + 1
    return cases


def _reason(gate: Gate, finding: Finding, verdict: Verdict, needed: int | None, few: bool) -> str:
    if finding.estimate is None:
        return finding.method
    parts = [finding.counts] if finding.counts else []
    if few:
        parts.append(f"{finding.cases} cases, and the least is {gate.min_cases}")
    bound, side = _telling(gate, finding, verdict)
    if bound is None:
        parts.append(finding.method)
    else:
        relation = "and" if verdict == "PASS" else "but" if verdict == "INCONCLUSIVE" else "and only"
        word = "at most" if gate.comparison in UPPER else "at least"
        parts.append(
            f"the {side} bound is {_number(bound, gate)}, {relation} {word} {_number(gate.threshold, gate)} is asked"
        )
    if needed and verdict == "INCONCLUSIVE":
        how = "with no loss " if gate.test == "exact_binomial" and not finding.changed else "at this rate "
        parts.append(f"{needed} cases {how}would prove it")
    return "; ".join(parts)


def _telling(gate: Gate, finding: Finding, verdict: Verdict) -> tuple[float | None, str]:
    """Return the bound that decided, and which it is."""
    upper = (gate.comparison in UPPER) != (verdict == "FAIL")
    return (finding.upper, "upper") if upper else (finding.lower, "lower")


def _number(value: float, gate: Gate) -> str:
    if gate.unit == "s":
        return f"{value * 1e3:.4g} ms"
    if gate.unit == "B":
        return f"{value / 1024:.4g} KiB"
    return f"{value:.4g}" + (f" {gate.unit}" if gate.unit else "")

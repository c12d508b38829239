"""Compare a finding's bounds with a gate's threshold."""

import math
from collections.abc import Callable
from statistics import NormalDist

from titrant.runtime.contract.finding import Finding
from titrant.schema.gate import Comparison, Gate, Verdict

UPPER_LIMITS: tuple[Comparison, ...] = ("at_most", "drop_at_most", "rise_at_most")
POWER = 0.8
# Thresholds are decimal fractions and bounds are sums of many: they meet within this.
_ROUNDING = 1e-12


def verdict(gate: Gate, finding: Finding) -> Verdict:
    """PASS when the bound on the wrong side of the estimate meets the threshold, FAIL when the other one misses it."""
    if finding.missing:
        return "INCONCLUSIVE"
    worst, best = (finding.upper, finding.lower) if gate.comparison in UPPER_LIMITS else (finding.lower, finding.upper)
    if meets(gate, worst):
        return "PASS"
    if best is not None and math.isfinite(best) and not meets(gate, best):
        return "FAIL"
    return "INCONCLUSIVE"


def meets(gate: Gate, value: float | None) -> bool:
    """Whether a number is on the right side of the threshold; one that is missing or not finite never is."""
    if value is None or not math.isfinite(value):
        return False
    slack = _ROUNDING * max(1.0, abs(gate.threshold))
    if gate.comparison in UPPER_LIMITS:
        return value <= gate.threshold + slack
    return value >= gate.threshold - slack


def needed_cases(gate: Gate, finding: Finding, confidence: float) -> int | None:
    """Return how many cases with the shares that were seen prove the gate; None where no number of them would.

    The number at which the bound just reaches the threshold is found by scaling the evidence; where some case speaks
    against the gate, ((z_confidence + z_power) / z_confidence)² as many are taken, for a power of 80 %.
    """
    if finding.missing and finding.least is not None:
        return finding.least
    if finding.proves_with is None or not finding.cases or not meets(gate, finding.estimate):
        return None
    factor = _least_factor(finding.proves_with)
    if factor is None:
        return None
    if not finding.clean:
        z_alpha, z_beta = NormalDist().inv_cdf(confidence), NormalDist().inv_cdf(POWER)
        factor *= ((z_alpha + z_beta) / z_alpha) ** 2
    return max(math.ceil(finding.cases * factor - 1e-6), gate.min_cases)


def _least_factor(proves: Callable[[float], bool]) -> float | None:
    high = 1.0
    while not proves(high):
        high *= 2
        if high > 2**20:
            return None
    low = high / 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if proves(middle) else (middle, high)
    return high

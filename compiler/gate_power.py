"""How many cases a gate needs to pass with 80 % probability, under an assumption that is said beside the number."""

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist

from titrant.schema.binomial_cases import binomial_cases, zero_failure_cases
from titrant.schema.gate import Gate

POWER = 0.8
# What quantization typically does, where nothing has been measured yet.
RIGHT = 0.95  # share of cases that the original has right
CHANGED = 0.01  # share of cases whose answer changes, as many for the better as for the worse
BRIER_SPREAD = 0.05  # standard deviation of a case's change of the Brier score

Needed = tuple[int | None, str]


def needed_cases(gate: Gate, confidence: float) -> Needed:
    """Return the cases that a gate needs, and what that number assumes; (None, "") where no such number is known.

    A gate with a least number of cases of its own needs at least those.
    """
    count = COUNTS.get(gate.test)
    needed, assumption = count(gate, confidence) if count is not None else (None, "")
    if gate.min_cases > (needed or 0):
        return gate.min_cases, "the least that min_cases allows"
    return needed, assumption


def fewest_cases(gate: Gate, confidence: float) -> int:
    """Return the cases below which a gate can never pass, even if no answer changes; 0 where none are known."""
    fewest = 0
    if 0 < gate.threshold < 1:
        if gate.test == "exact_binomial" and gate.comparison == "at_least":
            fewest = zero_failure_cases(gate.threshold, confidence)
        elif gate.test == "score_ratio":
            # Only cases that the original has right count; without a change they are a share of 1.
            fewest = math.ceil(zero_failure_cases(gate.threshold, confidence) / RIGHT)
    return max(fewest, gate.min_cases)


def _score_ratio(gate: Gate, confidence: float) -> Needed:
    """Cases for the score test of p_new = r p_orig (Nam and Blackwelder 2002) when truly p_new = p_orig.

    With T = x_new - r x_orig a case and q the share that changes in either direction, the variance of T is
    p (1 - p) (1 - r)² + 2 r q at the truth; the test divides by r (p10 + p01), estimated under the null hypothesis.
    """
    r, p, q = gate.threshold, RIGHT, CHANGED / 2
    if not 0 < r < 1:
        return None, ""
    root = math.sqrt((p - r**2 * p) ** 2 + 4 * r**2 * q * q)
    gained = (-p + r**2 * (p + 2 * q) + root) / (2 * r * (r + 1))
    lost = r * gained - (r - 1) * (p + q)
    null = r * (gained + lost)
    truth = p * (1 - p) * (1 - r) ** 2 + 2 * r * q
    assumption = f"the original right in {RIGHT:g}, {CHANGED:g} of the cases changed, as many gained as lost"
    return _normal(null, truth, p * (1 - r), confidence), assumption


def _paired_difference(gate: Gate, confidence: float) -> Needed:
    if gate.threshold <= 0:
        return None, ""
    assumption = f"{CHANGED:g} of the cases changed, as many gained as lost"
    return _normal(CHANGED, CHANGED, gate.threshold, confidence), assumption


def _paired_mean(gate: Gate, confidence: float) -> Needed:
    if gate.comparison != "rise_at_most" or gate.threshold <= 0:
        return None, ""
    spread = BRIER_SPREAD**2
    return _normal(spread, spread, gate.threshold, confidence), f"no rise, spread of a case's change {BRIER_SPREAD:g}"


def _group_ratio(gate: Gate, confidence: float) -> Needed:
    """Cases in each group for the log ratio of two independent proportions that are truly equal."""
    if not 0 < gate.threshold < 1:
        return None, ""
    spread = 2 * (1 - RIGHT) / RIGHT
    assumption = f"{RIGHT:g} in both groups, which are of one size"
    return _normal(spread, spread, -math.log(gate.threshold), confidence), assumption


def _exact_binomial(gate: Gate, confidence: float) -> Needed:
    if gate.comparison != "at_least":
        return None, ""
    if gate.preset == "safety":
        return binomial_cases(1.0, gate.threshold, confidence, POWER), "none lost"
    if gate.metric in ("agreement", "same_decision"):
        truth = max(1 - CHANGED, (1 + gate.threshold) / 2)
        return binomial_cases(truth, gate.threshold, confidence, POWER), f"{1 - truth:.3g} of the cases changed"
    truth = (1 + gate.threshold) / 2
    return binomial_cases(truth, gate.threshold, confidence, POWER), f"truly {truth:.3g}"


def _normal(null: float, truth: float, distance: float, confidence: float) -> int:
    """Return the sample size of a one-sided normal test with its variances a case at null hypothesis and truth."""
    z_alpha, z_beta = NormalDist().inv_cdf(confidence), NormalDist().inv_cdf(POWER)
    return math.ceil(((z_alpha * math.sqrt(null) + z_beta * math.sqrt(truth)) / distance) ** 2)


COUNTS: Mapping[str, Callable[[Gate, float], Needed]] = {
    "score_ratio": _score_ratio,
    "paired_difference": _paired_difference,
    "paired_mean": _paired_mean,
    "group_ratio": _group_ratio,
    "exact_binomial": _exact_binomial,
}

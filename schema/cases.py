"""How many cases a gate needs before it can be proven, computed with the standard library only."""

import math
from collections.abc import Callable
from statistics import NormalDist

from titrant.schema.gate import BATCH_INVARIANCE, SHARES, Gate
from titrant.schema.values.frozen import dataclass

# Under this many changed cases retention is judged by an exact bound instead of the score test.
FEW_CHANGED = 5
# Cases of a class below which the area under the ROC curve is not judged.
LEAST_OF_A_CLASS = 30
# The share of the runs that a timed metric bounds.
PERCENTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99, "throughput": 0.5}
_NINE_IN_TEN = NormalDist().inv_cdf(0.9)


@dataclass(frozen=True)
class CasesNeeded:
    """How many cases, of which kind, under which assumption; `cases` None: no number of cases would do.

    `of` names what is counted: "rows", "positive rows", "rows of a subgroup", "timed runs" … ; "" where the gate does
    not count cases at all, and then `cases` is None too.
    """

    cases: int | None
    of: str
    assumption: str


def need(
    gate: Gate, *, confidence: float = 0.95, power: float = 0.8, change: float = 0.005, original: float = 0.9
) -> CasesNeeded:
    """Return the cases for which a gate is proven with probability `power`, if the assumption in words holds.

    `change` is the assumed share of decisions that the candidate changes, half of them for the worse; `original` the
    assumed share of cases that the original gets right.
    """
    match gate.test:
        case "score_ratio":
            return _retention(gate, confidence, power, change, original)
        case "paired_difference":
            return _difference(gate, confidence, power, change, original)
        case "exact_binomial":
            return _share(gate, confidence, power, change)
        case "two_proportions":
            return _two_proportions(gate, confidence, power, original)
        case "group_ratio":
            return _groups(gate, confidence, power, original)
        case "order_statistic":
            return _percentile(gate, confidence)
        case "paired_mean":
            return _mean(gate, confidence)
        case "delong":
            return _unchanged(
                gate, confidence, "cases of the rarer class", "no case changes its rank", LEAST_OF_A_CLASS
            )
        case "bootstrap":
            return _unchanged(gate, confidence, "rows", "no decision changes, and classes are of equal size")
        case "not_assessable":
            return CasesNeeded(None, "", gate.assumption)
    return CasesNeeded(None, "", "")


def retention_cases(
    retention: float, *, original: float = 0.9, change: float = 0.005, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """Return how many rows prove a retention, when `change` of them change, as many losses as gains.

    Where fewer than five changed cases are to be expected, the exact bound on the share kept decides; else the score
    test of Nam and Blackwelder (2002), of which this is the normal power formula with the constrained variance.
    """
    if retention >= 1:
        return None
    decided = original + change / 2  # rows that at least one of the two gets right
    exact = binomial_cases(1 - change / 2 / decided, retention, confidence, power)
    if exact is not None and exact / decided * change < FEW_CHANGED:
        # How many of the rows are decided is itself chance: allow for nine samples in ten.
        return math.ceil((exact + _NINE_IN_TEN * math.sqrt(exact * (1 - decided))) / decided)
    both, half = original - change / 2, change / 2
    null = retention * constrained_discordance(both, half, half, retention)
    alternative = half * (1 + retention**2) + both * (1 - retention) ** 2 - (original * (1 - retention)) ** 2
    z_alpha, z_beta = NormalDist().inv_cdf(confidence), NormalDist().inv_cdf(power)
    spread = z_alpha * math.sqrt(null) + z_beta * math.sqrt(max(alternative, 0.0))
    score = math.ceil((spread / (original * (1 - retention))) ** 2)
    return max(score, math.ceil(zero_failure_cases(retention, confidence) / decided), math.ceil(FEW_CHANGED / change))


def constrained_discordance(both: float, lost: float, gained: float, ratio: float) -> float:
    """Return lost + gained as the likelihood is largest under (both + gained) = ratio · (both + lost).

    Shares or counts; what the original and the candidate both get wrong plays no part (see
    runtime/contract/statistics/proportions.py).
    """
    total = both + lost + gained
    a = (1 + ratio) * ratio * total
    b = both * (1 + ratio) ** 2 + lost * ratio * (2 + ratio) + gained * (1 + 2 * ratio)
    c = both * (1 + ratio) + lost * ratio + gained
    original = 2 * c / (b + math.sqrt(max(b * b - 4 * a * c, 0.0)))
    return total * max(2 - (1 + ratio) * min(original, 1.0, 1 / ratio), 0.0)


def runs_for_percentile(share: float, confidence: float = 0.95) -> int:
    """Return the smallest number of timed runs whose slowest bounds a percentile from above: 59 for .95, 5 for .5."""
    return math.ceil(math.log(1 - confidence) / math.log(share) - 1e-12)


def blocks_for_percentile(share: float, confidence: float = 0.95) -> int:
    """Return how many blocks of runs, apart in time and none of them slow, bound a percentile: 63 for .95, 5 for .5."""
    return mean_cases(1 - share, 1.0, confidence) or 1


def mean_cases(margin: float, spread: float = 1.0, confidence: float = 0.95) -> int | None:
    """Return how many unchanged cases prove that a mean rises by at most `margin`, one case by at most `spread`.

    For the betting bound of runtime/contract/statistics/means.py, which wagers 4/5 on the case that nothing changed.
    """
    if margin <= 0:
        return None
    share = min(margin / spread, 0.999)
    return math.ceil(math.log(1 / (0.8 * (1 - confidence))) / -math.log1p(-share))


def _retention(gate: Gate, confidence: float, power: float, change: float, original: float) -> CasesNeeded:
    cases = retention_cases(gate.threshold, original=original, change=change, confidence=confidence, power=power)
    words = (
        f"{_percent(change)} of the decisions change, as many losses as gains, "
        f"and the original is right in {_percent(original)}"
    )
    return CasesNeeded(cases, "rows", words)


def _difference(gate: Gate, confidence: float, power: float, change: float, original: float) -> CasesNeeded:
    # A drop of d is about a retention of 1 - d / original.
    kept = 1 - gate.threshold / original
    cases = (
        retention_cases(kept, original=original, change=change, confidence=confidence, power=power)
        if 0 < kept < 1
        else None
    )
    return CasesNeeded(cases, "rows", f"{_percent(change)} of the decisions change, as many losses as gains")


def _share(gate: Gate, confidence: float, power: float, change: float) -> CasesNeeded:
    threshold, truth, of, words = assumed_share(gate, change)
    if threshold >= 1:
        return CasesNeeded(None, of, words)
    least = zero_failure_cases(threshold, confidence) if threshold > 0 else 1
    cases = binomial_cases(truth, threshold, confidence, power)
    return CasesNeeded(cases, of, f"{words} ({least} cases if none fails)")


def assumed_share(gate: Gate, change: float) -> tuple[float, float, str, str]:
    """Return the share of good cases that a gate asks for, the true one that is assumed, what is counted, and words."""
    at_most = gate.comparison == "at_most"
    threshold = 1 - gate.threshold if at_most else gate.threshold
    if threshold >= 1:
        return threshold, 1.0, "rows", "no number of cases proves a share of exactly 1"
    if gate.metric == "kept":
        truth = 1 - change / 2
        of, words = "positive rows the original catches", f"{_percent(1 - truth)} of them are lost"
    elif gate.metric in ("agreement", "same_decision"):
        truth = 1 - change
        of, words = "rows", f"{_percent(change)} of the decisions change"
    elif gate.metric == BATCH_INVARIANCE:
        truth = 1 - change
        of, words = "rows", f"{_percent(change)} of the answers depend on the batch"
    else:
        truth = (1 + threshold) / 2
        of = {"sensitivity": "positive rows", "specificity": "negative rows"}.get(gate.metric, "rows")
        words = f"the true {gate.metric} is {1 - truth if at_most else truth:.4g}"
    if truth <= threshold:
        truth = 1 - (1 - threshold) / 4
        words = f"the true share is {truth:.5g}"
    return threshold, truth, of, words


def _two_proportions(gate: Gate, confidence: float, power: float, original: float) -> CasesNeeded:
    # Each of two bounds may fail half as often, and both must hold.
    cases = binomial_cases(original, gate.threshold, (1 + confidence) / 2, math.sqrt(power))
    words = f"the original is right in {_percent(original)} of either class, and half of the rows are of each"
    return CasesNeeded(None if cases is None else 2 * cases, "rows", words)


def _groups(gate: Gate, confidence: float, power: float, original: float) -> CasesNeeded:
    # Two independent groups of equal size and equal metric p: var(log ratio) = 2 (1 - p) / (p n) (Katz et al. 1978).
    if gate.threshold >= 1:
        return CasesNeeded(None, "rows of each subgroup", "no number of cases proves that a ratio is at least 1")
    z = NormalDist().inv_cdf(confidence) + NormalDist().inv_cdf(power)
    cases = math.ceil(z * z * 2 * (1 - original) / original / math.log(gate.threshold) ** 2)
    cases = max(cases, gate.min_cases, zero_failure_cases(gate.threshold, confidence))
    of = "positive rows of each subgroup" if gate.metric == "sensitivity" else "rows of each subgroup"
    return CasesNeeded(cases, of, f"the metric is {original:.3g} in both groups, which are of equal size")


def _percentile(gate: Gate, confidence: float) -> CasesNeeded:
    share = PERCENTILES[gate.metric]
    blocks = blocks_for_percentile(share, confidence)
    return CasesNeeded(blocks, "blocks of timed runs", "no block is slow; they lie apart in time")


def _mean(gate: Gate, confidence: float) -> CasesNeeded:
    if gate.comparison not in ("rise_at_most", "drop_at_most"):
        return CasesNeeded(None, "", "depends on how far the score is from the threshold")
    return CasesNeeded(mean_cases(gate.threshold, 1.0, confidence), "rows", "no probability moves much")


def _unchanged(gate: Gate, confidence: float, of: str, words: str, least: int = 1) -> CasesNeeded:
    """Count the cases with which bets prove that nothing changed; see runtime/contract/statistics/compared.py."""
    margin = margin_of(gate)
    if margin is None:
        return CasesNeeded(None, "", "depends on how far the metric is from the threshold")
    cases = mean_cases(margin, 1.0, confidence)
    return CasesNeeded(None if cases is None else max(cases, least), of, words)


def margin_of(gate: Gate) -> float | None:
    """Return the loss, as a share of the cases, that a gate allows against the original; None where it has no such."""
    if gate.comparison in ("drop_at_most", "rise_at_most"):
        return gate.threshold
    return 1 - gate.threshold if gate.comparison == "retention" or gate.metric in SHARES else None


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


# Above this many allowed failures the normal approximation is within a case in a hundred.
_EXACT_FAILURES = 1500
_MOST_CASES = 50_000_000


def zero_failure_cases(threshold: float, confidence: float = 0.95) -> int:
    """Return the smallest number of cases that, with no failure, proves a share of at least `threshold` (0..1).

    The exact lower bound with no failure in n cases is (1 - confidence) ** (1 / n) (Clopper and Pearson 1934).
    149 cases prove .98 and 299 prove .99 at 95 %.
    """
    return max(1, math.ceil(math.log(1 - confidence) / math.log(threshold) - 1e-12))


def binomial_cases(p_true: float, threshold: float, confidence: float = 0.95, power: float = 0.8) -> int | None:
    """Return how many cases prove a share ≥ `threshold` with probability `power` when it is truly `p_true`.

    The proof is the exact one-sided lower bound. None when p_true does not exceed the threshold, or when more than
    fifty million cases would be needed.
    """
    if not p_true > threshold:
        return None
    if threshold <= 0:
        return 1
    approximate = _normal_cases(p_true, threshold, confidence, power)
    if approximate * (1 - threshold) > _EXACT_FAILURES:
        return approximate if approximate <= _MOST_CASES else None
    failures = _first(lambda allowed: _power(allowed, p_true, threshold, confidence) >= power)
    return proof_cases(failures, threshold, confidence)


def proof_cases(failures: int, threshold: float, confidence: float = 0.95) -> int:
    """Return the smallest number of cases that proves a share ≥ `threshold` (below 1) with this many failures."""
    alpha = 1 - confidence
    if failures == 0:
        return zero_failure_cases(threshold, confidence)
    return _first(lambda cases: cases > failures and failure_probability(failures, cases, 1 - threshold) <= alpha)


def failure_probability(failures: int, cases: int, rate: float) -> float:
    """Return the probability of at most `failures` in `cases` independent cases that each fail at `rate` (0..1)."""
    if rate <= 0 or failures >= cases:
        return 1.0
    if rate >= 1:
        return 0.0
    odds = math.log(rate) - math.log1p(-rate)
    term = cases * math.log1p(-rate)
    total = math.exp(term)
    for k in range(1, failures + 1):
        term += math.log((cases - k + 1) / k) + odds
        total += math.exp(term)
    return min(1.0, total)


def _power(failures: int, p_true: float, threshold: float, confidence: float) -> float:
    return failure_probability(failures, proof_cases(failures, threshold, confidence), 1 - p_true)


def _normal_cases(p_true: float, threshold: float, confidence: float, power: float) -> int:
    z_alpha, z_beta = NormalDist().inv_cdf(confidence), NormalDist().inv_cdf(power)
    spread = z_alpha * math.sqrt(threshold * (1 - threshold)) + z_beta * math.sqrt(p_true * (1 - p_true))
    return math.ceil((spread / (p_true - threshold)) ** 2)


def _first(holds: Callable[[int], bool]) -> int:
    """Return the smallest number ≥ 0 for which a condition holds that goes on holding from there."""
    high = 1
    while not holds(high):
        high *= 2
    low = high // 2 if high > 1 else -1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high

"""Looks at evaluation rows without an end: what each may go wrong, what is bet, and the cases that this takes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from statistics import NormalDist
from typing import Final

from titrant.schema.cases import FAITHFUL, Assumed, CasesNeeded, asks_nothing, assumed_share, margin_of, need
from titrant.schema.gate import Gate
from titrant.schema.samples.bets import mean_cases
from titrant.schema.samples.binomial import failure_probability
from titrant.schema.values.frozen import dataclass

OPEN: Final = "open"
# Stakes as fractions of the largest that cannot ruin the bettor, and how the wealth is spread over them: they stay what
# they are while rows are added. Where few decisions change the best stake is close to the largest.
STAKES = (1.0, 0.95, 0.88, 0.8, 0.65, 0.5, 0.3, 0.15, 0.07, 0.03, 0.012, 0.005)
WEIGHTS = (0.4, 0.11, 0.11, 0.11, 0.07, 0.05, 0.04, 0.03, 0.03, 0.02, 0.02, 0.01)
_MOST_CASES = 50_000_000
_BORDER_STEPS = 100
# How many rows are gained, or right by both, is chance too: simulated, a tenth more rows make up for it.
_CHANCE = 1.1
# What two mixtures of stakes cost, as a logarithm, where some stake in the middle would have been the best.
_MIXING = 7.0


def share_of(place: int) -> float:
    """Return the share of the error rate that the model judged at this place (from 1) on some rows may use.

    6 / (π² place²): all of them together are 1 (Basel series), however many there will be.
    """
    return 6 / (math.pi * place) ** 2


def shares_up_to(place: int) -> float:
    """Return the share of the error rate that the first so many models use together."""
    return sum(share_of(each) for each in range(1, place + 1))


def open_need(gate: Gate, assumed: Assumed = FAITHFUL, *, confidence: float, power: float = 0.8) -> CasesNeeded:
    """Return the cases for which the bets of an open look prove a gate, as `titrant.schema.cases.need` does.

    What looks at no evaluation rows (time, size and memory) is judged as ever.
    """
    planned = need(gate, replace(assumed, rows_a_unit=1.0), confidence=confidence, power=power)
    if asks_nothing(gate):
        return planned
    change, original = assumed.change, assumed.original
    match gate.test:
        case "score_ratio":
            return replace(planned, cases=_cases(_retained(gate.threshold, original, change), confidence, power))
        case "paired_difference":
            return replace(planned, cases=_cases(_changed(gate.threshold, change), confidence, power))
        case "exact_binomial":
            threshold, truth, of, words = assumed_share(gate, change)
            return CasesNeeded(_cases(_good(threshold, truth), confidence, power), of, words)
        case "paired_mean":
            margin = margin_of(gate) if gate.comparison != "retention" else None
            return planned if margin is None else replace(planned, cases=_dearer(planned.cases, margin, confidence))
        case "two_proportions":
            each = _two_samples("mean", gate.threshold, original, confidence, power)
            return replace(planned, cases=None if each is None else 2 * each)
        case "group_ratio":
            each = _two_samples("ratio", gate.threshold, original, confidence, power)
            words = f"the metric is {original:.3g} in both groups, which are of equal size"
            return replace(planned, cases=None if each is None else max(each, gate.min_cases), assumption=words)
    return planned


@cache
def _cases(outcomes: "Outcomes | None", confidence: float, power: float) -> int | None:
    cases = None if outcomes is None else outcomes.cases(confidence, power)
    if outcomes is None or cases is None or len(outcomes.others) < 2:
        return cases
    return math.ceil(_CHANCE * cases)


@dataclass(frozen=True)
class Outcomes:
    """What one case does to the wealth: with chance `losing` (0..1) it loses the stake.

    `others` are pairs of chance and gain, as a multiple of the stake.
    """

    losing: float
    others: tuple[tuple[float, float], ...]

    def log_wealth(self, cases: int, lost: float) -> float:
        """Return the logarithm of the wealth after so many cases of which `lost` lose, the others as often as due."""
        logs = []
        for stake, weight in zip(STAKES, WEIGHTS, strict=True):
            if stake == 1 and lost:
                continue
            gained = sum(chance * math.log1p(stake * gain) for chance, gain in self.others)
            logs.append(
                math.log(weight)
                + gained * (cases - lost) / max(1 - self.losing, 1e-12)
                + (lost * math.log1p(-stake) if lost else 0.0)
            )
        return log_sum(logs)

    def cases(self, confidence: float, power: float) -> int | None:
        """Return how many cases reach the wealth with this probability; None where fifty million would not.

        They are those of the smallest number of lost cases that is not exceeded so often.
        """
        due = -math.log(1 - confidence)

        def proving(lost: int) -> int | None:
            return first(lambda cases: cases > lost and self.log_wealth(cases, lost) >= due)

        def often(lost: int) -> bool:
            cases = proving(lost)
            return cases is None or failure_probability(lost, cases, self.losing) >= power

        if often(0):
            return proving(0)
        enough = first(often)
        return None if enough is None else proving(enough)


def _dearer(cases: int | None, margin: float, confidence: float) -> int | None:
    """Return so many cases times what the bets of open looks cost more where nothing changes."""
    still, once = unchanged_cases(margin, confidence), mean_cases(margin, 1.0, confidence)
    return None if cases is None or still is None or once is None else math.ceil(cases * max(still / once, 1.0))


def _retained(retention: float, original: float, change: float) -> Outcomes | None:
    if not 0 < retention < 1:
        return None
    both, half = original - change / 2, change / 2
    return Outcomes(half, ((both, (1 - retention) / retention), (half, 1 / retention)))


def _changed(margin: float, change: float) -> Outcomes | None:
    if not 0 < margin < 1:
        return None
    half = change / 2
    return Outcomes(half, ((1 - change, margin / (1 - margin)), (half, (1 + margin) / (1 - margin))))


def _good(threshold: float, truth: float) -> Outcomes | None:
    if not 0 < threshold < 1:
        return None
    return Outcomes(1 - truth, ((truth, (1 - threshold) / threshold),))


def unchanged_cases(margin: float, confidence: float) -> int | None:
    """Return how many cases of which none speaks against a gate prove that a loss is at most `margin` (0..1)."""
    if margin <= 0:
        return None
    gain = margin / (1 - min(margin, 0.999))
    still = Outcomes(0.0, ((1.0, gain),))
    return first(lambda cases: still.log_wealth(cases, 0) >= -math.log(1 - confidence))


@cache
def _two_samples(kind: str, threshold: float, right: float, confidence: float, power: float) -> int | None:
    """Return the cases in each of two samples, `right` of either good, that refute every point of the claim's border.

    The claim is about the ratio or the mean of two shares. The number at which the expected counts suffice is scaled
    for the power, as that of a normal test is.
    """
    due = -math.log(1 - confidence)
    points = [_border(kind, threshold, right, place / _BORDER_STEPS) for place in range(1, _BORDER_STEPS)]

    def refuted(cases: int) -> bool:
        return all(sum(_against(cases, *side) for side in point) >= due for point in points)

    enough = first(refuted)
    if enough is None:
        return None
    spread = math.sqrt(2 * (due + _MIXING))
    return math.ceil(enough * (1 + NormalDist().inv_cdf(power) / spread) ** 2)


def _border(kind: str, threshold: float, right: float, place: float) -> tuple[tuple[float, float], ...]:
    """Return of either sample the true share, and the one that the claim lets it have at most."""
    if kind == "ratio":
        # The second sample has at least place, so that its bad cases are at most the rest.
        return (right, threshold * place), (1 - right, 1 - place)
    return (right, place), (right, 2 * threshold - place)


def _against(cases: int, truth: float, claimed: float) -> float:
    """Return the log of the wealth, as counts are expected, against the claim that a share is at most `claimed`."""
    if claimed <= 0:
        return math.inf
    outcomes = _good(claimed, truth)
    return 0.0 if outcomes is None else outcomes.log_wealth(cases, cases * (1 - truth))


def log_sum(logs: Sequence[float]) -> float:
    """Return log Σ exp."""
    top = max(logs)
    return top + math.log(sum(math.exp(log - top) for log in logs)) if math.isfinite(top) else top


def first(holds: Callable[[int], bool]) -> int | None:
    """Return the smallest number for which a condition holds that goes on holding; None beyond fifty million."""
    high = 1
    while not holds(high):
        high *= 2
        if high > _MOST_CASES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high

"""How many cases a gate needs before it can be proven, computed with the standard library only."""

import math
from collections.abc import Callable
from statistics import NormalDist

from titrant.schema.gate import BATCH_INVARIANCE, SHARES, SMALLER_IS_BETTER, Gate
from titrant.schema.power import AREA, CHANGE, MOVED, RIGHT
from titrant.schema.samples.bets import Bet, bets_cases, mean_cases
from titrant.schema.samples.binomial import binomial_cases, two_shares_cases, zero_failure_cases
from titrant.schema.samples.groups import group_cases
from titrant.schema.samples.paired import drop_cases, kept_cases, retention_cases
from titrant.schema.values.frozen import dataclass

# Cases of a class below which the area under the ROC curve is not judged.
LEAST_OF_A_CLASS = 30
# From so many rows a unit on, units are bet on, each of which may fail whole.
_SEVERAL_ROWS = 2.0
# Of an area of about .9 a case's part in it: the standard deviation of the share of the other class that it is above.
_SPREAD_OF_PLACES = 0.16
_NINE_IN_TEN = NormalDist().inv_cdf(0.9)
# The tests of what lies in 0..1, or is a ratio of two such numbers.
_OF_SHARES = (
    "score_ratio", "paired_difference", "exact_binomial", "two_proportions", "group_ratio", "paired_mean", "delong",
    "bootstrap",
)  # fmt: skip
# The share of the runs that a timed metric bounds.
PERCENTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99, "throughput": 0.5}


@dataclass(frozen=True)
class CasesNeeded:
    """How many cases, of which kind, under which assumption; `cases` None: no number of cases would do.

    `of` names what is counted: "rows", "positive rows", "rows of a subgroup", "timed runs" … ; "" where the gate does
    not count cases at all, and then `cases` is None too.
    """

    cases: int | None
    of: str
    assumption: str


@dataclass(frozen=True)
class Assumed:
    """What is assumed of a faithful candidate, and what is known of the cases.

    `change` is the share of decisions that the candidate changes, half of them for the worse; `original` the share of
    cases that the original gets right. `groups` are compared in pairs; `ratio` cases of the other classes come with
    each of the rarer class; a unit has `rows_a_unit`. Of `classes` the rarest that a metric by class reads has a share
    `rare` of the rows.
    """

    change: float = CHANGE
    original: float = RIGHT
    groups: int = 2
    ratio: float = 1.0
    rows_a_unit: float = 1.0
    classes: int = 2
    rare: float = 0.5


FAITHFUL = Assumed()


def need(gate: Gate, assumed: Assumed = FAITHFUL, *, confidence: float = 0.95, power: float = 0.8) -> CasesNeeded:
    """Return the cases from which on a gate is proven with probability `power`, if the assumption in words holds."""
    if asks_nothing(gate):
        return CasesNeeded(
            None, "rows", "no answer can miss this threshold, so that no number of cases proves anything"
        )
    if assumed.rows_a_unit >= _SEVERAL_ROWS and gate.test in ("score_ratio", "paired_difference", "exact_binomial"):
        clustered = _units(gate, assumed, confidence, power)
        if clustered is not None:
            return clustered
    match gate.test:
        case "score_ratio":
            return _retention(gate, assumed, confidence, power)
        case "paired_difference":
            return _difference(gate, assumed, confidence, power)
        case "exact_binomial":
            return _share(gate, assumed, confidence, power)
        case "two_proportions":
            return _two_proportions(gate, assumed, confidence, power)
        case "group_ratio":
            return _groups(gate, assumed, confidence, power)
        case "order_statistic":
            return _percentile(gate, confidence)
        case "paired_mean":
            return _mean(gate, assumed, confidence, power)
        case "bounded_mean" | "own_case":
            return _bounded(gate, assumed, confidence, power)
        case "delong":
            return _area(gate, assumed, confidence, power)
        case "bootstrap":
            return _by_class(gate, assumed, confidence, power)
        case "not_assessable":
            return CasesNeeded(None, "", gate.assumption)
    return CasesNeeded(None, "", "")


def asks_nothing(gate: Gate) -> bool:
    """Whether the threshold lies at the end of what the metric can be: then every candidate meets it."""
    if gate.test not in _OF_SHARES:
        return False
    return gate.threshold >= 1 if gate.comparison in SMALLER_IS_BETTER else gate.threshold <= 0


def runs_for_percentile(share: float, confidence: float = 0.95) -> int:
    """Return the smallest number of timed runs whose slowest bounds a percentile from above: 59 for .95, 5 for .5."""
    return math.ceil(math.log(1 - confidence) / math.log(share) - 1e-12)


def blocks_for_percentile(share: float, confidence: float = 0.95) -> int:
    """Return how many blocks of runs, apart in time and none of them slow, bound a percentile: 63 for .95, 5 for .5."""
    return mean_cases(1 - share, 1.0, confidence) or 1


def _changing(assumed: Assumed) -> str:
    return f"{_percent(assumed.change)} of the decisions change, as many losses as gains"


def _retention(gate: Gate, assumed: Assumed, confidence: float, power: float) -> CasesNeeded:
    cases = retention_cases(
        gate.threshold, original=assumed.original, change=assumed.change, confidence=confidence, power=power
    )
    return CasesNeeded(
        cases, "rows", f"{_changing(assumed)}, and the original is right in {_percent(assumed.original)}"
    )


def _difference(gate: Gate, assumed: Assumed, confidence: float, power: float) -> CasesNeeded:
    cases = drop_cases(
        gate.threshold, original=assumed.original, change=assumed.change, confidence=confidence, power=power
    )
    return CasesNeeded(cases, "rows", _changing(assumed))


def _share(gate: Gate, assumed: Assumed, confidence: float, power: float) -> CasesNeeded:
    threshold, truth, of, words = assumed_share(gate, assumed.change)
    if threshold >= 1:
        return CasesNeeded(None, of, words)
    least = zero_failure_cases(threshold, confidence) if threshold > 0 else 1
    if gate.metric == "kept":
        cases = kept_cases(
            threshold, original=assumed.original, change=assumed.change, confidence=confidence, power=power
        )
        lost = f"the original catches {_percent(assumed.original)} of them, and {_percent(assumed.change / 2)} are lost"
        if cases is not None:
            return CasesNeeded(cases, "positive rows", f"{lost} ({least} caught cases if none is lost)")
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


def _two_proportions(gate: Gate, assumed: Assumed, confidence: float, power: float) -> CasesNeeded:
    rarer = two_shares_cases(assumed.original, gate.threshold, round(assumed.ratio, 2), confidence, power)
    words = f"the original is right in {_percent(assumed.original)} of either class"
    return CasesNeeded(None if rarer is None else math.ceil(rarer * (1 + assumed.ratio)), "rows", words)


def _groups(gate: Gate, assumed: Assumed, confidence: float, power: float) -> CasesNeeded:
    if gate.threshold >= 1:
        return CasesNeeded(None, "rows of each subgroup", "no number of cases proves that a ratio is at least 1")
    cases = group_cases(
        gate.threshold, assumed.groups, right=assumed.original, confidence=confidence, power=power, least=gate.min_cases
    )
    of = "positive rows of each subgroup" if gate.metric == "sensitivity" else "rows of each subgroup"
    groups = "both groups" if assumed.groups == 2 else f"all {assumed.groups} groups"
    every = "both ratios" if assumed.groups == 2 else f"all {assumed.groups * (assumed.groups - 1)} ratios"
    words = f"the metric is {assumed.original:.3g} in {groups}, each has so many, and {every} are proven together"
    return CasesNeeded(cases, of, words)


def _percentile(gate: Gate, confidence: float) -> CasesNeeded:
    share = PERCENTILES[gate.metric]
    blocks = blocks_for_percentile(share, confidence)
    return CasesNeeded(blocks, "blocks of timed runs", "no block is slow; they lie apart in time")


def _mean(gate: Gate, assumed: Assumed, confidence: float, power: float) -> CasesNeeded:
    if gate.comparison not in ("rise_at_most", "drop_at_most"):
        return CasesNeeded(None, "", "depends on how far the score is from the threshold")
    share, top = 1 / assumed.rows_a_unit, 1 - gate.threshold
    stays, move, rate = gate.threshold / top, MOVED * share / top, assumed.change / 2 / share
    bet = Bet(stays, stays - move, stays + move, rate, rate)
    words = f"{_changing(assumed)}, each moves the score of its case by {MOVED:g}, and no other probability moves much"
    return CasesNeeded(bets_cases(bet, confidence=confidence, power=power), "rows", words)


def _bounded(gate: Gate, assumed: Assumed, confidence: float, power: float) -> CasesNeeded:
    """Count the cases that prove a mean of numbers within a range, any of which may turn from one end to the other."""
    if gate.comparison not in ("rise_at_most", "drop_at_most"):
        return CasesNeeded(None, "", "depends on how far the metric is from the threshold")
    spread = 1.0 if gate.own is None else gate.own.high - gate.own.low
    margin, share = gate.threshold / spread, 1 / assumed.rows_a_unit
    if not 0 < margin < 1:
        return CasesNeeded(None, "rows", "no number of cases proves that nothing is lost")
    stays, move, rate = margin / (1 - margin), share / (1 - margin), assumed.change / 2 / share
    bet = Bet(stays, stays - move, stays + move, rate, rate)
    ends = "an operating point of .5 or below" if gate.own is None else f"{gate.own.low:g} to {gate.own.high:g}"
    words = f"{_changing(assumed)}, each moves its case by the whole range ({ends}), and no other case moves"
    return CasesNeeded(bets_cases(bet, confidence=confidence, power=power), "rows", words)


def _area(gate: Gate, assumed: Assumed, confidence: float, power: float) -> CasesNeeded:
    """Count the cases of the rarer class whose placements are bet on, with those of the other class."""
    margin, of = margin_of(gate), "cases of the rarer class"
    if margin is None:
        return CasesNeeded(None, "", "depends on how far the metric is from the threshold")
    ratio = gate.comparison == "retention"
    top = gate.threshold if ratio else 1 - margin
    if margin <= 0 or top <= 0:
        return CasesNeeded(None, of, "no number of cases proves that nothing is lost")
    move, rate = MOVED / assumed.rows_a_unit / top, assumed.change / 2 * assumed.rows_a_unit

    def cases_of(area: float) -> int | None:
        stays = margin * (area if ratio else 1.0) / top
        bet = Bet(stays, stays - move, stays + move, rate, rate)
        return bets_cases(bet, confidence=confidence, power=power, others=assumed.ratio)

    cases = _sampled(cases_of, AREA, _SPREAD_OF_PLACES * math.sqrt(1 + 1 / assumed.ratio))
    words = (
        f"the area is {AREA:g}, and {_percent(assumed.change)} of the cases change places with half of the other "
        "class, as many up as down"
    )
    return CasesNeeded(None if cases is None else max(cases, LEAST_OF_A_CLASS), of, words)


def _sampled(cases_of: Callable[[float], int | None], value: float, spread: float) -> int | None:
    """Count the cases where the original's value, of which a ratio is bet on, is itself found from them.

    `spread` is the standard deviation of one case's part in it.
    """
    cases = cases_of(value)
    if cases is None or not spread:
        return cases
    return cases_of(value - _NINE_IN_TEN * spread / math.sqrt(cases))


def _by_class(gate: Gate, assumed: Assumed, confidence: float, power: float) -> CasesNeeded:
    """Count the rows that prove a metric of which a row of a rare class moves more than one in all rows.

    By bets on what each row adds, the linear term of the metric: see runtime/contract/influence.py.
    """
    margin = margin_of(gate)
    if margin is None:
        return CasesNeeded(None, "", "depends on how far the metric is from the threshold")
    kept = gate.threshold if gate.comparison == "retention" else 1.0
    value, top, moves = _moves(gate.metric, assumed, kept)
    top -= 0.0 if gate.comparison == "retention" else margin
    if margin <= 0 or top <= 0:
        return CasesNeeded(None, "rows", "no number of rows proves that nothing is lost")
    move = sum(share * moved for share, moved in moves) / top
    rate = assumed.change / 2

    def cases_of(kept_value: float) -> int | None:
        stays = margin * (kept_value if gate.comparison == "retention" else 1.0) / top
        return bets_cases(
            Bet(min(stays, 1.0), max(stays - move, -1.0), stays + move, rate, rate), confidence=confidence, power=power
        )

    parts = assumed.classes if gate.metric == "balanced_accuracy" else 1
    spread = math.sqrt(value * (1 - value) / assumed.rare) / parts if gate.comparison == "retention" else 0.0
    words = f"{_changing(assumed)}, and the rarest class that counts has {_percent(assumed.rare)} of the rows"
    return CasesNeeded(_sampled(cases_of, value, spread), "rows", words)


def _moves(metric: str, assumed: Assumed, kept: float) -> tuple[float, float, tuple[tuple[float, float], ...]]:
    """Return a metric, the most that a row can cost it, and what changed rows of either class cost, with their shares.

    The most is of `kept` times what a row adds to the original's, less what it adds to the candidate's.
    """
    rare, right = assumed.rare, assumed.original
    if metric == "balanced_accuracy":
        weights = (1 / (assumed.classes * rare), (assumed.classes - 1) / (assumed.classes * max(1 - rare, 1e-9)))
        return right, kept * weights[0], ((rare, weights[0]), (1 - rare, weights[1]))
    called = right * rare + (1 - right) * (1 - rare)
    if metric == "precision":
        value = right * rare / called
        hit, missed, alarm = (value + (1 - value) / called, value, value - value / called)
    else:
        value = 2 * right * rare / (called + rare)
        called += rare
        hit, missed, alarm = (value + (2 - 2 * value) / called, value - value / called, value - value / called)
    top = max(kept * hit - missed, kept * value - alarm)
    return value, top, ((rare, hit - missed), (1 - rare, value - alarm))


def _units(gate: Gate, assumed: Assumed, confidence: float, power: float) -> CasesNeeded | None:
    """Count units of several rows: bets on units whose rows change one by one, any of which may fail whole."""
    rows, share = assumed.rows_a_unit, 1 / assumed.rows_a_unit
    half, words = assumed.change / 2 * rows, f"{_changing(assumed)}, one by one"
    if gate.test == "score_ratio" and 0 < gate.threshold < 1:
        stays = (1 - gate.threshold) * assumed.original / gate.threshold
        move = share / gate.threshold
        bet = Bet(stays, stays - move, stays + move, half, half)
    elif gate.test == "paired_difference" and 0 < gate.threshold < 1:
        stays, move = gate.threshold / (1 - gate.threshold), share / (1 - gate.threshold)
        bet = Bet(stays, stays - move, stays + move, half, half)
    elif gate.metric in SHARES and 0 < gate.threshold < 1:
        stays = (1 - gate.threshold) / gate.threshold
        rate = 2 * half if gate.metric != "kept" else half / assumed.original
        bet = Bet(stays, stays - share / gate.threshold, stays, rate, 0.0)
    else:
        return None
    cases = bets_cases(bet, confidence=confidence, power=power)
    if gate.metric == "kept" and cases is not None:
        cases = math.ceil(cases / assumed.original)
    of = "units"
    return CasesNeeded(cases, of, words)


def margin_of(gate: Gate) -> float | None:
    """Return the loss, as a share of the cases, that a gate allows against the original; None where it has no such."""
    if gate.comparison in ("drop_at_most", "rise_at_most"):
        return gate.threshold
    return 1 - gate.threshold if gate.comparison == "retention" or gate.metric in SHARES else None


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

"""Compare a gate's estimate and bounds with its threshold: verdict, reason, cases needed, and what blocks release."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import NormalDist

from titrant.schema.gate import (
    BATCH_INVARIANCE,
    EXECUTED,
    SMALLER_IS_BETTER,
    Contract,
    Gate,
    GateResult,
    Judgement,
    Verdict,
    supplied,
)
from titrant.schema.open_looks import OPEN, share_of
from titrant.schema.record import Look
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import format_size, format_time

POWER = 0.8
# Thresholds are decimal fractions and bounds are sums of many: they meet within this.
_ROUNDING = 1e-12
_WORST: tuple[Verdict, ...] = ("FAIL", "INCONCLUSIVE", "PASS")


@dataclass(frozen=True)
class GateEstimate:
    """The quantity that a gate compares, its one-sided bounds, and what was seen, in words.

    `observed` is the start of the reason. `cases` counts the metric's denominator, `changed` the cases that decide
    the test; with `clean` nothing speaks against the gate ("no loss"). `missing` says why a bound is not there.
    `proves_with` tells whether so many times the evidence, with the same shares, would prove the gate.
    """

    estimate: float | None
    lower: float | None
    upper: float | None
    original: float | None
    candidate: float | None
    cases: int
    changed: int | None
    method: str
    observed: str
    clean: str = ""
    missing: str = ""
    least: int | None = None  # cases below which nothing is concluded
    counted: str = "cases"
    units: int | None = None  # what `min_cases` counts, where several rows belong to one unit
    proves_with: Callable[[float], bool] | None = None
    p_value: float | None = None  # always valid: the least error rate at which it passes


def verdict(gate: Gate, finding: GateEstimate) -> Verdict:
    """PASS when the bound on the wrong side of the estimate meets the threshold, FAIL when the other one misses it."""
    if finding.missing:
        return "INCONCLUSIVE"
    worst, best = (
        (finding.upper, finding.lower) if gate.comparison in SMALLER_IS_BETTER else (finding.lower, finding.upper)
    )
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
    if gate.comparison in SMALLER_IS_BETTER:
        return value <= gate.threshold + slack
    return value >= gate.threshold - slack


def needed_cases(gate: Gate, finding: GateEstimate, confidence: float) -> int | None:
    """Return how many cases with the shares that were seen prove the gate; None where no number of them would.

    The number at which the bound just reaches the threshold is found by scaling the evidence; where some case speaks
    against the gate, ((z_confidence + z_power) / z_confidence)² as many are taken, for a power of 80 %. Where cases are
    below `least`, that many are named only if they would do.
    """
    short = finding.least if finding.missing else None
    if finding.proves_with is None:
        return short
    if not finding.cases or not meets(gate, finding.estimate):
        return None
    if short is not None and finding.proves_with(short / (finding.units or finding.cases)):
        return short
    z_alpha, z_beta = NormalDist().inv_cdf(confidence), NormalDist().inv_cdf(POWER)
    power = 1.0 if finding.clean else ((z_alpha + z_beta) / z_alpha) ** 2

    def cases(factor: float) -> int:
        return max(math.ceil(finding.cases * (factor * power) - 1e-6), gate.min_cases)

    return _fewest(finding.proves_with, cases)


def _fewest(proves: Callable[[float], bool], cases: Callable[[float], int]) -> int | None:
    """Return the cases of the smallest factor that proves, by bisection until no other number of cases is left."""
    high = 1.0
    while not proves(high):
        high *= 2
        if high > 2**20:
            return None
    low = high / 2
    for _ in range(50):
        if cases(low) == cases(high):
            break
        middle = (low + high) / 2
        low, high = (low, middle) if proves(middle) else (middle, high)
    return cases(high)


def reason(gate: Gate, finding: GateEstimate, verdict: Verdict, needed: int | None, confidence: float) -> str:
    """Return what was seen, the bound that decides against the threshold, and what would settle an open gate."""
    limit = gate.comparison in SMALLER_IS_BETTER
    threshold = _number(gate.threshold, gate.unit)
    requirement = f"at most {threshold} is allowed" if limit else f"at least {threshold} is needed"
    if finding.missing:
        return f"{finding.observed}; {finding.missing}"
    if gate.preset == EXECUTED:  # its share of 1 is no number of layers
        return finding.observed
    if finding.lower == finding.upper:
        return f"{finding.observed}; {requirement}"
    deciding = finding.upper if limit else finding.lower
    if verdict == "FAIL":
        best = finding.lower if limit else finding.upper
        compared = "" if gate.metric != "kept" else " of the share kept"
        return (
            f"{finding.observed}; even the favourable bound{compared} at {confidence:.4g} confidence is "
            f"{_number(best, gate.unit, gate.threshold)}, and {requirement}"
        )
    said = (
        f"{finding.observed}; the bound at {confidence:.4g} confidence is "
        f"{_number(deciding, gate.unit, gate.threshold)}, and {requirement}"
    )
    return said if verdict == "PASS" else f"{said}: {_settle(gate, finding, needed)}"


def _settle(gate: Gate, finding: GateEstimate, needed: int | None) -> str:
    if not meets(gate, finding.estimate):
        return "the estimate itself does not reach it"
    if needed is None:
        return "the estimate reaches it, but the evidence is too thin to prove it"
    if finding.clean:
        return f"{needed:,} {finding.counted} with {finding.clean} would prove it"
    return f"about {needed:,} {finding.counted} with the same shares would prove it (power 0.8)"


def _number(value: float | None, unit: str, against: float | None = None) -> str:
    if value is None:
        return "unknown"
    if unit == "s":
        return format_time(value)
    if unit == "B":
        return format_size(value)
    if unit:
        return f"{value:,.0f} {unit}"
    if against is None:
        return f"{value:.6g}"
    digits = 4
    # A bound that misses the threshold must not look as if it met it.
    while digits < 9 and value != against and round(value, digits) == round(against, digits):
        digits += 1
    return f"{value:.{digits}f}"


def original_misses(gate: Gate, result: GateResult) -> bool:
    """Whether the original itself is on the wrong side of a gate that did not pass: no candidate is to blame for that.

    Of values on the same rows; a candidate that is worse still is told by the gates against the original.
    """
    missed = gate.absolute and result.original is not None and not meets(gate, result.original)
    return missed and result.verdict != "PASS"


def tolerable(gate: Gate, result: GateResult) -> bool:
    """Whether a gate lets a candidate through where the contract asks for evidence only."""
    if result.let_through:
        return False
    if result.verdict == "INCONCLUSIVE":
        return (gate.test == "not_assessable" and supplied(gate)) or meets(gate, result.estimate)
    return result.verdict == "PASS"


def blockers(contract: Contract, judgement: Judgement) -> tuple[str, ...]:
    """Return the gates that keep the candidate from being released.

    Where the contract asks for evidence only, unproven gates that are tolerable do not.
    """
    gates = {gate.id: gate for gate in contract.gates}
    unproven = [result for result in judgement.results if result.verdict != "PASS"]
    if contract.require == "evidence":
        unproven = [
            result for result in unproven if result.gate not in gates or not tolerable(gates[result.gate], result)
        ]
    return tuple(result.gate for result in unproven)


def conclude(contract: Contract, candidate: str, results: Sequence[GateResult]) -> Judgement:
    """Take the worst gate, and decide on release.

    All PASS is proven and released. Where the contract asks for evidence only, an INCONCLUSIVE gate is let through if
    its estimate meets the threshold, or if the level supplied it and its facts are missing, which then stands in the
    report. What the recipe itself asks for and nobody can assess is never let through. A contract without gates on
    answers, size or time proves nothing.
    """
    gates = {gate.id: gate for gate in contract.gates}
    verdicts = {result.verdict for result in results}
    if all(gates[result.gate].preset == EXECUTED for result in results):
        verdicts.add("INCONCLUSIVE")
    worst: Verdict = next(answer for answer in _WORST if answer in verdicts)
    proven = worst == "PASS"
    tolerated = contract.require == "evidence" and all(tolerable(gates[result.gate], result) for result in results)
    return Judgement(candidate, worst, proven or tolerated, proven, tuple(results))


def charged(contract: Contract, judgement: Judgement, look: Look | None) -> Judgement:
    """Open every gate on answers that passed in a look beyond the planned ones, and conclude anew.

    The planned looks share what may go wrong (Bonferroni), which the contract's confidence holds already. A further one
    has nothing left to spend: whoever changes a model until it passes on the same rows passes by chance in the end. Of
    open looks a gate passes where its p-value is within the look's own share.
    """
    if look is None:
        return judgement
    opened = _opened if beyond(contract, look) else _shared if contract.looks == OPEN else None
    if opened is None:
        return judgement
    gates = {gate.id: gate for gate in contract.gates}
    results = [opened(gates[result.gate], result, look, contract) for result in judgement.results]
    return conclude(contract, judgement.candidate, results)


def beyond(contract: Contract, look: Look) -> bool:
    """Whether the looks up to this one may go wrong more often than the contract allows all of them together."""
    return look.spent > allowed(contract) + _ROUNDING * max(look.number, 1)


def allowed(contract: Contract) -> float:
    """Return how often all planned looks together may go wrong."""
    rate = 1 - contract.confidence
    return rate / share_of(1) if contract.looks == OPEN else contract.looks * rate


def _opened(gate: Gate, result: GateResult, look: Look, contract: Contract) -> GateResult:
    if result.verdict != "PASS" or not reads_rows(gate):
        return result
    reason = f"{beyond_words(look, contract)}; seen: {result.reason}"
    return replace(result, verdict="INCONCLUSIVE", reason=reason)


def _shared(gate: Gate, result: GateResult, look: Look, contract: Contract) -> GateResult:
    """Leave a pass as it is where bets have won enough for this look's share of what may go wrong."""
    if result.verdict != "PASS" or not reads_rows(gate):
        return result
    rate = rate_of(gate, look, contract)
    if result.p_value is not None and result.p_value <= rate:
        return result
    reason = f"{share_words(look, rate)}; seen: {result.reason}; {_missing_wealth(result, rate)}"
    return replace(result, verdict="INCONCLUSIVE", reason=reason, needed_cases=_more_cases(result, rate))


def rate_of(gate: Gate, look: Look, contract: Contract) -> float:
    """Return the error rate that an open look leaves a gate.

    Which rows are asked again in other company is drawn anew where rows are added: each look takes a share of its own.
    """
    if gate.metric == BATCH_INVARIANCE:
        return allowed(contract) * share_of(look.number)
    return look.share


def share_words(look: Look, rate: float) -> str:
    """Say which model an open look judges on its rows, and what that leaves it."""
    return (
        f"look number {look.number} at these rows, with {look.models} models judged on them: a pass may be wrong with "
        f"a chance of {rate:.3g} here (validation.looks: open)"
    )


def _missing_wealth(result: GateResult, rate: float) -> str:
    more = _more_cases(result, rate)
    said = "no always-valid p-value" if result.p_value is None else f"p = {result.p_value:.3g}"
    return said if more is None else f"{said}, and about {more:,} cases with the same shares would do"


def _more_cases(result: GateResult, rate: float) -> int | None:
    """Return with how many cases bets would win enough: the logarithm of the wealth grows as they do."""
    if not result.p_value or result.p_value >= 1 or result.cases is None:
        return None
    return math.ceil(result.cases * math.log(rate) / math.log(result.p_value))


def reads_rows(gate: Gate) -> bool:
    """Whether a gate is about what evaluation rows show, rather than about time, size, memory and precision."""
    return gate.preset not in ("target", EXECUTED) and gate.comparison != "ratio_at_most"


def beyond_words(look: Look, contract: Contract) -> str:
    """Say that a look has nothing to spend, and what would."""
    spent = look.spent - (look.share or 1 - contract.confidence)
    return (
        f"look number {look.number} at these rows: earlier ones have spent {spent:.3g} of the {allowed(contract):.3g} "
        f"that may go wrong (validation.looks); {look.rows:,} fresh rows would prove as much as a first look"
    )

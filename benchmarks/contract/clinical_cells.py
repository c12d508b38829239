"""Ways in which net benefit, recalibration and a user's own metrics can be worse than a gate allows, or faithful."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
from contract.cells import FLIPS, Cell, Draw, evidence_of, gate_of
from scipy.optimize import brentq  # noqa: TID253 - the independent computation

from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.measures.judging import TESTS
from titrant.runtime.contract.measures.own_metric import MetricCases, metric
from titrant.runtime.contract.statistics.recalibration import FURTHEST, intercept, slope
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.contract.verdict import verdict
from titrant.schema.gate import Gate
from titrant.schema.recipe.own_metric import OwnMetric, own_test

_POPULATION = 400_000


def judged(gate: Gate, evidence: Evidence) -> bool:
    """Judge by titrant's own test; what is not assessable is not passed."""
    try:
        return verdict(gate, TESTS[gate.test](gate, evidence)) == "PASS"
    except Unassessable:
        return False


def _at(evidence: Evidence, threshold: float) -> Evidence:
    assert evidence.original is not None
    assert evidence.candidate is not None
    answers = [
        replace(one, threshold=threshold, decisions=(one.probabilities[:, 1] >= threshold).astype(np.int64))
        for one in (evidence.original, evidence.candidate)
    ]
    return replace(evidence, original=answers[0], candidate=answers[1])


def net_benefits() -> Iterator[Cell]:
    """Caught cases that are lost, and false alarms that are new, at operating points with small and large odds."""
    for threshold in (0.1, 0.5, 0.8):
        weight = threshold / (1 - threshold)
        for comparison, asked in (("drop_at_most", 0.02), ("retention", 0.95)):
            for pattern in ("caught lost", "false alarms"):
                for cases in (100, 300, 1000, 10000):

                    def make(
                        at: tuple[float, float, float] = (threshold, weight, asked),
                        comparison: str = comparison,
                        pattern: str = pattern,
                        cases: int = cases,
                    ) -> Draw:
                        threshold, weight, asked = at
                        share, hit, false = 0.3, 0.9, 0.05
                        benefit = share * hit - weight * (1 - share) * false
                        loss = asked if comparison == "drop_at_most" else (1 - asked) * benefit
                        rate = (
                            loss / (share * hit)
                            if pattern == "caught lost"
                            else loss / weight / (1 - share) / (1 - false)
                        )
                        gate = gate_of("net_benefit", comparison, asked)

                        def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                            labels = (rng.random(cases) < share).astype(np.int64)
                            old = np.where(labels == 1, rng.random(cases) < hit, rng.random(cases) < false)
                            chance = rng.random(cases)
                            if not margin:
                                new = np.where(chance < FLIPS, ~old, old)
                            elif pattern == "caught lost":
                                new = old & ~((labels == 1) & (chance < rate))
                            else:
                                new = old | ((labels == 0) & (chance < rate))
                            found = evidence_of(labels, *(np.where(one, 0.95, 0.02) for one in (old, new)))
                            return None, judged(gate, _at(found, threshold))

                        return draw

                    yield Cell("net benefit", f"{pattern}, {comparison} at {threshold}", str(cases), asked, make)


def _drawn(rng: np.random.Generator, cases: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits that are calibrated, and labels."""
    scores = rng.normal(-1.0, 1.5, cases)
    return scores, (rng.random(cases) < 1 / (1 + np.exp(-scores))).astype(np.float64)


def _distorted(scores: np.ndarray, chance: np.ndarray, pattern: str, rate: float) -> np.ndarray:
    if pattern == "all too extreme":
        return scores * (1 + rate)
    if pattern == "all too high":
        return scores + rate
    return np.where(chance < rate, -np.sign(scores) * FURTHEST if pattern == "rare and sure" else 6.0, scores)


@cache
def _rate(metric: str, pattern: str, drop: float) -> float:
    """Find how strong a distortion costs a coefficient exactly so much, in a large population."""
    rng = np.random.default_rng(7)
    scores, labels = _drawn(rng, _POPULATION)
    chance = rng.random(_POPULATION)
    fit: Callable[..., object] = slope if metric == "calibration_slope" else intercept
    whole = fit(scores, labels).value  # type: ignore[attr-defined]

    def lost(rate: float) -> float:
        return float(whole - fit(_distorted(scores, chance, pattern, rate), labels).value) - drop  # type: ignore[attr-defined]

    return float(brentq(lost, 1e-6, 0.9, xtol=1e-6))


def recalibrations() -> Iterator[Cell]:
    """Scores that are all a little off, or few of them wholly, behind rounding of all."""
    for name, patterns, drops in (
        ("calibration_slope", ("all too extreme", "rare and sure"), (0.1, 0.2)),
        ("calibration_intercept", ("all too high", "rare and high"), (0.1, 0.2)),
    ):
        for drop in drops:
            for pattern in patterns:
                for cases in (100, 300, 1000, 3000, 10000):

                    def make(name: str = name, pattern: str = pattern, drop: float = drop, cases: int = cases) -> Draw:
                        gate = gate_of(name, "drop_at_most", drop)
                        rate = _rate(name, pattern, drop)

                        def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                            scores, labels = _drawn(rng, cases)
                            new = scores + 1e-3 * rng.normal(0, 1, cases)
                            if margin:
                                new = _distorted(scores, rng.random(cases), pattern, rate)
                            found = [1 / (1 + np.exp(-one)) for one in (scores, new)]
                            return None, judged(gate, evidence_of(labels.astype(np.int64), *found))

                        return draw

                    yield Cell(name.replace("_", " "), pattern, str(cases), drop, make)


@metric(better="lower", range=(0, 5), unit="case")
def harm(cases: MetricCases) -> np.ndarray:
    """Count a miss five times as bad as a false alarm."""
    missed = (cases.labels == 1) & (cases.decisions == 0)
    return np.where(missed, 5.0, (cases.labels != cases.decisions).astype(float))


@metric(better="higher", range=(0, 1), unit="set")
def f2(cases: MetricCases) -> float:
    """Return F2: recall counts twice as much as precision."""
    both = float(((cases.labels == 1) & (cases.decisions == 1)).sum())
    below = 4 * (cases.labels == 1).sum() + (cases.decisions == 1).sum()
    return 5 * both / float(below) if below else 0.0


HARM, F2 = OwnMetric("lower", 0.0, 5.0, "case"), OwnMetric("higher", 0.0, 1.0, "set")


def own_metrics() -> Iterator[Cell]:
    """A cost by case that misses make, and F2 as a whole; misses fall on a class that may be rare."""
    for name, own, comparison, asked in (
        ("harm", HARM, "rise_at_most", 0.1),
        ("f2", F2, "retention", 0.9),
    ):
        for share in (0.05, 0.3):
            for cases in (300, 1000) if own.unit == "set" else (100, 300, 1000, 10000):

                def make(
                    name: str = name,
                    own: OwnMetric = own,
                    at: tuple[str, float, float] = (comparison, asked, share),
                    cases: int = cases,
                ) -> Draw:
                    comparison, asked, share = at
                    hit, false = 0.9, 0.05
                    if own.unit == "case":
                        rate = min(asked / (5 * share * hit), 1.0)
                    else:
                        before = 5 * share * hit / (4 * share + share * hit + (1 - share) * false)
                        aim = asked * before
                        # 5 s h k / (4 s + s h k + (1 - s) f) = aim
                        kept = aim * (4 * share + (1 - share) * false) / (share * hit * (5 - aim))
                        rate = 1 - kept
                    reference = f"{__name__}:{name}"
                    gate = Gate(
                        "g", "gates", reference, "all", comparison, asked, own_test(own, comparison), "", own=own
                    )  # type: ignore[arg-type]

                    def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                        labels = (rng.random(cases) < share).astype(np.int64)
                        old = np.where(labels == 1, rng.random(cases) < hit, rng.random(cases) < false)
                        chance = rng.random(cases)
                        new = np.where(chance < FLIPS, ~old, old)
                        if margin:
                            new = old & ~((labels == 1) & (chance < rate))
                            if own.unit == "set":  # false alarms as often as before, elsewhere: they change as well
                                new = np.where(labels == 0, rng.random(cases) < false, new)
                        return None, judged(gate, evidence_of(labels, old.astype(float), new.astype(float)))

                    return draw

                procedure = "own metric by case" if own.unit == "case" else "own metric of a set"
                yield Cell(procedure, f"positives {share}", str(cases), asked, make)

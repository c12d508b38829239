"""Ways in which scores, rare classes and timings can be worse than a gate allows, and all ways together."""

import math
from collections.abc import Iterator

import numpy as np
from contract.cells import FLIPS, Cell, Draw, clustered, copies, evidence_of, gate_of, groups, paired_counts, passes
from contract.clinical_cells import net_benefits, own_metrics, recalibrations
from contract.former_tests import auroc, latency, resampled
from contract.language_cells import documents, neighbors
from contract.number_cells import errors, explained, labels, quantiles
from contract.strata_cells import sited_areas, sited_groups, sited_metrics, sites
from contract.titrated_cells import titrated
from scipy.stats import norm  # noqa: TID253 - the independent computation

from titrant.runtime.contract.evidence import Evidence, slice_answers
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.schema.gate import Gate
from titrant.schema.values.slice import ALL


def areas() -> Iterator[Cell]:
    """Positives or negatives that are lost wholly, and scores that are blurred."""
    area = norm.cdf(2 / math.sqrt(2))
    for positives, negatives in ((35, 65), (100, 200), (300, 700), (1000, 9000)):
        for r in (0.98, 0.99):
            blur = math.sqrt(max((2 / norm.ppf(r * area)) ** 2 / 2 - 1, 0))
            for pattern in ("blurred", "positives lost", "negatives lost", "both lost"):

                def make(
                    n: tuple[int, int] = (positives, negatives),
                    r: float = r,
                    pattern: str = pattern,
                    blur: float = blur,
                ) -> Draw:
                    gate, positive = gate_of("auroc", "retention", r), np.arange(sum(n)) < n[0]

                    def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                        old = rng.normal(0, 1, sum(n)) + 2 * positive
                        new = np.round(old * 8) / 8 + 1e-4 * rng.normal(0, 1, sum(n))
                        if margin and pattern == "blurred":
                            new = old + blur * rng.normal(0, 1, sum(n))
                        elif margin:
                            # Where both are lost, the chance to rank a pair rightly falls by either.
                            each = 1 - (math.sqrt(r) if pattern == "both lost" else r)
                            lost = (rng.random(sum(n)) < each) & {
                                "positives lost": positive,
                                "negatives lost": ~positive,
                            }.get(pattern, True)
                            new = np.where(lost, np.where(positive, -9.0, 9.0) + rng.random(sum(n)), new)
                        scores = [1 / (1 + np.exp(-one)) for one in (old, new)]
                        return auroc(*scores, positive, r), passes(
                            gate, evidence_of(positive.astype(np.int64), *scores)
                        )

                    return draw

                yield Cell("AUROC", pattern, f"{positives} + {negatives}", r, make)


def rare_classes() -> Iterator[Cell]:
    """Metrics by class where all losses fall on the positive class, which may be rare."""
    for metric, comparison, threshold in (
        ("balanced_accuracy", "retention", 0.95),
        ("f1", "retention", 0.95),
        ("precision", "drop_at_most", 0.05),
    ):
        for share in (0.02, 0.1, 0.3):
            hit, false = 0.95 * share, 0.05 * (1 - share)
            if metric == "balanced_accuracy":
                loss, alarms = 2 * (1 - threshold), 0.0
            elif metric == "f1":
                area = 2 * hit / (hit + false + share) * threshold
                loss, alarms = 1 - area * (false + share) / (hit * (2 - area)), 0.0
            else:
                loss, alarms = 0.0, (hit / (hit / (hit + false) - threshold) - hit - false) / (1 - share) / 0.95
            for cases in (300, 1000, 10000):

                def make(
                    at: tuple[str, str, float] = (metric, comparison, threshold),
                    rate: tuple[float, float] = (loss, alarms),
                    share: float = share,
                    cases: int = cases,
                ) -> Draw:
                    gate = gate_of(*at)

                    def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                        labels = (rng.random(cases) < share).astype(np.int64)
                        old = np.where(rng.random(cases) < 0.05, 1 - labels, labels)
                        new = np.where(
                            (rng.random(cases) < 0.08) & (labels == 0) & margin & (at[0] == "balanced_accuracy"),
                            1 - old,
                            old,
                        )
                        chance = rng.random(cases)
                        if margin:
                            new = np.where((labels == 1) & (old == 1) & (chance < rate[0]), 0, new)
                            new = np.where((labels == 0) & (old == 0) & (chance < rate[1]), 1, new)
                        else:
                            new = np.where(chance < FLIPS, 1 - old, new)
                        found = evidence_of(labels, old.astype(float), new.astype(float))
                        try:
                            return resampled(*at, slice_answers(found, at[0], ALL)), passes(gate, found)
                        except Unassessable:  # a metric that these rows do not define
                            return False, False

                    return draw

                yield Cell(metric, f"positives {share}", str(cases), threshold, make)


def briers() -> Iterator[Cell]:
    """A Brier score that rises by its whole range in rare cases, behind rounding of all."""
    for cases in (100, 300, 1000, 10000):

        def make(cases: int = cases) -> Draw:
            gate = gate_of("brier", "rise_at_most", 0.02)

            def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                old = rng.beta(8, 0.2, cases)
                labels = np.ones(cases, np.int64)
                new = np.clip(old + rng.normal(0, 1e-4, cases), 0, 1)
                rise = 1 - float(np.mean((1 - rng.beta(8, 0.2, 4000)) ** 2))
                worse = rng.random(cases) < 0.02 / rise
                new = np.where(worse, 0.0, new) if margin else new
                return None, passes(gate, evidence_of(labels, old, new))

            return draw

        yield Cell("Brier score", "rare cases turn round", str(cases), 0.02, make)


def latencies() -> Iterator[Cell]:
    """A machine that is 1.5 times slower for a tenth of the time, in spells, and blocks of runs with pauses between."""
    for spell, blocks, runs, pause in (
        (0, 80, 1, 0),
        (10, 59, 1, 0),
        (10, 80, 5, 20),
        (100, 80, 1, 0),
        (100, 80, 5, 100),
        (100, 80, 5, 300),
    ):

        def make(spell: int = spell, blocks: int = blocks, runs: int = runs, pause: int = pause) -> Draw:
            def draw(rng: np.random.Generator, margin: bool) -> tuple[bool | None, bool]:
                count = blocks * (runs + pause)
                changes = rng.random(count)
                slow, state = np.zeros(count, bool), bool(rng.random() < 0.1)
                for place in range(count if spell else 0):
                    state = changes[place] > 1 / spell if state else changes[place] < 0.1 / 0.9 / spell
                    slow[place] = state
                slow = slow if spell else changes < 0.1
                seconds = np.where(slow, 1.5, 1.0) * np.exp(0.03 * rng.normal(0, 1, count))
                chosen = seconds[(np.arange(blocks)[:, None] * (runs + pause) + np.arange(runs)).ravel()]
                # The true 95th percentile: half of the slow runs are beyond it. A fair limit is a third above that.
                limit = 1.5 * (1 - 1e-9) if margin else 2.0
                gate = Gate(
                    "g", "target", "latency_p95", "all", "at_most", limit, "order_statistic", "simulated", unit="s"
                )
                p50, p95, p99 = np.quantile(chosen, (0.5, 0.95, 0.99))
                timing = {"p50": p50, "p95": p95, "p99": p99, "samples": chosen.tolist(), "blocks": [runs] * blocks}
                found = evidence_of(np.ones(1, np.int64), np.ones(1), np.ones(1))
                found = Evidence(found.rows, None, None, found.alike, figures={"1": timing})
                return latency(chosen, 0.95, limit), passes(gate, found)

            return draw

        yield Cell("latency p95", f"spells of {spell} runs, pauses of {pause}", f"{blocks} x {runs}", 1.5, make)


CELLS = [
    *paired_counts(), *groups(), *clustered(), *copies(), *areas(), *rare_classes(), *briers(), *latencies(),
    *titrated(), *net_benefits(), *recalibrations(), *own_metrics(), *sites(), *sited_areas(),
    *sited_metrics(), *sited_groups(), *documents(),
    *errors(), *explained(), *quantiles(), *labels(),
    *neighbors(),
]  # fmt: skip

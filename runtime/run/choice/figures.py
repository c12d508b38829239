"""What is known of candidates before evaluation rows are read, gathered from what steps answered."""

import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from titrant.runtime.contract.statistics.paired_runs import TimedRuns, timed_runs
from titrant.runtime.run.choice.own_figure import OwnFigure, own_figures
from titrant.schema.gate import AS_PLANNED, BATCH_INVARIANCE, FINE_TUNED, Contract, threshold_words
from titrant.schema.plan import Candidate, CandidateSearch
from titrant.schema.recipe.own_metric import is_own
from titrant.schema.values.frozen import dataclass

# One-sided 95 %: a candidate is given up on tuning rows only when chance can hardly explain what it lost.
Z = 1.645
_SHOWN = ("latency_p50", "latency_p95", "latency_p99", "throughput", "peak_memory", "quality")
# Gates on answers of which tuning rows tell.
_ASKED = ("retention", FINE_TUNED, "clinical_relevance")
_LIMITED = ("size", "latency_p50", "latency_p95", "latency_p99", "throughput", "peak_memory")


@dataclass(frozen=True)
class CandidateTiming:
    """What timing one candidate gave, None where it was not measured.

    `p50`, the median, `p95` and `p99` are seconds of one batch at the search's batch size; `runs` are what it is
    compared by. `throughput` counts cases per second, `peak_memory` bytes.
    """

    p50: float | None = None
    runs: TimedRuns = TimedRuns()
    p95: float | None = None
    p99: float | None = None
    throughput: float | None = None
    peak_memory: float | None = None


@dataclass(frozen=True)
class TuningQuality:
    """What one candidate's answers on `rows` tuning rows are worth, None where they were not compared.

    `kept` is the share of the original's main metric (the agreement where there are no labels), `fine_tuned` that of
    the original after the training that the candidate had, `agreement` the share
    of equal decisions, `original` the original's own metric. `lower` bounds from below what a mixture kept.
    `as_planned` is the share of the layers, of those that were found, that gave these answers in the precision that was
    planned. `bounded` bounds `kept` from below where each case has a score. `groups` are what gates on subgroups
    answered: {gate: {"estimate", "spent", "verdict"}}, as `validate.measure` says.
    """

    kept: float | None = None
    agreement: float | None = None
    original: float | None = None
    rows: int = 0
    as_planned: float | None = None
    lower: float | None = None
    fine_tuned: float | None = None
    bounded: float | None = None
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def least(self) -> float | None:
        """The smaller of the shares that are kept, of the original's and of the fine-tuned original's quality."""
        return self.kept if self.kept is None or self.fine_tuned is None else min(self.kept, self.fine_tuned)


@dataclass(frozen=True)
class Figures:
    """What is known of one candidate before evaluation rows are read."""

    candidate: str
    rank: int
    size: int
    timing: CandidateTiming = CandidateTiming()
    tuning: TuningQuality = TuningQuality()
    # A mixture of precisions, searched for on tuning rows.
    mixture: bool = False
    # The original as it is, in another file or engine.
    plain: bool = False
    # The share of cases that no other company changes, as high as chance allows after what was seen on tuning rows.
    batch_invariance: float | None = None
    # Metrics of the user's own that the search is after.
    own: tuple[OwnFigure, ...] = ()
    # Which subgroup it fails on tuning rows, so that it is ruled out.
    harms: str = ""

    def own_figure(self, metric: str) -> OwnFigure | None:
        """Return the figure of a metric of the user's own; None of any other, and where it was not measured."""
        return next((figure for figure in self.own if figure.metric == metric), None)

    def value(self, name: str) -> float | None:
        """Return a figure by the name that an objective or a target limit has for it."""
        if is_own(name):
            own = self.own_figure(name)
            return None if own is None else own.candidate
        by_name: Mapping[str, float | None] = {
            "size": self.size,
            "latency": self.timing.p50,
            "latency_p50": self.timing.p50,
            "latency_p95": self.timing.p95,
            "latency_p99": self.timing.p99,
            "throughput": self.timing.throughput,
            "peak_memory": self.timing.peak_memory,
            "quality": self.tuning.kept,
            "batch_invariance": self.batch_invariance,
            AS_PLANNED: self.tuning.as_planned,
        }
        return by_name[name]


@dataclass(frozen=True)
class Limit:
    """A gate that these figures tell of: of `target`, of what runs, or of batch invariance, which allows for chance."""

    # size, latency_p50, latency_p95, latency_p99, peak_memory, throughput, batch_invariance or layers_as_planned
    metric: str
    comparison: str  # at_most, at_least
    threshold: float


def noise(tuning: TuningQuality) -> float:
    """Return the standard error of a retention: only changed decisions can move it, and at least one may have.

    Where cases have scores, the distance to its bound tells it.
    """
    if tuning.bounded is not None and tuning.kept is not None:
        return max(tuning.kept - tuning.bounded, 0.0) / Z
    if not tuning.rows:
        return math.inf
    changed = max((1 - (tuning.agreement if tuning.agreement is not None else 0)) * tuning.rows, 1)
    return math.sqrt(changed) / tuning.rows / max(tuning.original or 1.0, 1e-9)


def surely_keeps(tuning: TuningQuality, retention: float) -> bool:
    """Whether tuning rows show that a mixture keeps what is asked, by the one-sided bound of what it kept."""
    return tuning.lower is not None and tuning.lower >= retention


def figures(
    candidate: Candidate,
    search: CandidateSearch,
    size: int,
    quality: Mapping[str, Any],
    timings: Mapping[str, Any],
    *,
    invariance: Mapping[str, Any] | None = None,
) -> Figures:
    """Gather one candidate's figures; the mappings are what the steps that measured it gave."""
    timing = timings.get(candidate.id, {})
    batch = timing.get(str(search.timing_batch), {})
    return Figures(
        candidate.id,
        candidate.rank,
        size,
        CandidateTiming(
            p50=batch.get("p50"),
            runs=timed_runs(batch),
            p95=batch.get("p95"),
            p99=batch.get("p99"),
            throughput=batch.get("throughput"),
            peak_memory=timing.get("peak_bytes"),
        ),
        tuning_quality(quality),
        bool(candidate.allocation),
        candidate.method == "none" and not candidate.plain,
        None if invariance is None else _left_alone(len(invariance["dependent"]), invariance["rows"]),
        own_figures(quality),
    )


def _left_alone(changed: int, rows: int) -> float:
    """Return the share of cases that are answered alike in any company, as high as chance allows."""
    return min(1.0, 1 - changed / rows + Z * math.sqrt(max(changed, 1)) / rows)


def _main_metric(quality: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the main metric and the original's value, where it was measured."""
    metric = quality.get("metric", "accuracy")
    value = quality.get("original", {}).get(metric)
    return (metric, value) if value is not None else ("", None)


def tuning_quality(quality: Mapping[str, Any]) -> TuningQuality:
    """Return what a candidate's answers on tuning rows are worth, of what `validate.measure` gave."""
    retention, agreement = quality.get("retention"), quality.get("agreement")
    metric, original = _main_metric(quality)
    return TuningQuality(
        kept=retention if retention is not None else agreement,
        agreement=agreement,
        original=original if metric else None,
        rows=int(quality.get("rows", 0)),
        lower=quality.get("lower"),
        fine_tuned=quality.get("fine_tuned"),
        bounded=quality.get("kept_at_least"),
        groups=quality.get("groups", {}),
    )


def limits(contract: Contract) -> tuple[Limit, ...]:
    """Return the gates that the same figures will decide."""
    return tuple(
        Limit(gate.metric, gate.comparison, gate.threshold)
        for gate in contract.gates
        if gate.metric in (BATCH_INVARIANCE, AS_PLANNED)
        or (gate.preset == "target" and gate.metric in _LIMITED and gate.comparison in ("at_most", "at_least"))
    )


def lost_on_tuning(contract: Contract, tuning: TuningQuality) -> str:
    """Say by how much a candidate misses on tuning rows what the contract asks of answers; "" where it does not.

    What is asked are retention, clinical relevance and what gates ask of subgroups, where they can be assessed.
    """
    by_metric = {
        "accuracy": ("keeps {:.4f} of the original's quality", tuning.kept),
        "same_decision": ("decides {:.4f} of the cases as the original does", tuning.agreement),
        "agreement": ("answers {:.4f} of the cases as the original does", tuning.agreement),
    }
    of_quality = by_metric["accuracy"]
    beside = ("keeps {:.4f} of the fine-tuned original's quality", tuning.fine_tuned)
    for gate in contract.gates:
        if gate.preset in _ASKED and gate.test != "not_assessable":
            text, value = beside if gate.preset == FINE_TUNED else by_metric.get(gate.metric, of_quality)
            if value is not None and value < gate.threshold:
                return f"it {text.format(value)} on {tuning.rows:,} tuning rows, and {gate.threshold:g} is asked"
    return harmed(contract, tuning)


def harmed(contract: Contract, tuning: TuningQuality, *, beyond_chance: bool = False) -> str:
    """Say of which subgroup a gate is missed on tuning rows, the worst one; "" where none is.

    By what was seen; `beyond_chance` by the one-sided bound of the gate's own test, of which a few rows of a subgroup
    that lost little cannot make more than chance.
    """
    missed = {
        gate: seen["spent"]
        for gate in contract.gates
        if (seen := tuning.groups.get(gate.id)) and (seen["verdict"] == "FAIL" if beyond_chance else seen["spent"] > 1)
    }
    if not missed:
        return ""
    worst = max(missed, key=lambda gate: missed[gate])
    text = f"{worst.metric} on {worst.slice} comes to {tuning.groups[worst.id]['estimate']:.4f} on tuning rows"
    return f"{text}{', beyond chance' if beyond_chance else ''}, and {threshold_words(worst)} is asked"


def shown(item: Figures) -> dict[str, float]:
    """Return the figures that a candidate's record keeps: seconds, bytes, cases per second, fractions."""
    named = {name: item.value(name) for name in _SHOWN} | {"agreement": item.tuning.agreement}
    named |= {figure.metric: figure.candidate for figure in item.own}
    return {name: float(value) for name, value in named.items() if value is not None}

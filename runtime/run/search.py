"""Pure functions that read candidates' figures from what steps answered, and decide which to judge in which order."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.runtime.contract.statistics.paired_runs import GAP, PairedComparison, TimedRuns, compare_runs, timed_runs
from titrant.schema.gain import factor_words, interval_words
from titrant.schema.gate import AS_PLANNED, BATCH_INVARIANCE, Contract
from titrant.schema.plan import Candidate, CandidateSearch
from titrant.schema.values.frozen import dataclass

# One-sided 95 %: a candidate is given up on tuning rows only when chance can hardly explain what it lost.
_Z = 1.645
# objective → whether more of it is better
OBJECTIVES = {"latency": False, "size": False, "peak_memory": False, "throughput": True, "quality": True}
# What the runs themselves are compared by, round by round.
_TIMED = ("latency", "throughput")
_SHOWN = ("latency_p50", "latency_p95", "latency_p99", "throughput", "peak_memory", "quality")
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

    `kept` is the share of the original's main metric (the agreement where there are no labels), `agreement` the share
    of equal decisions, `original` the original's own metric. `as_planned` is the share of the layers, of those that
    were found, that gave these answers in the precision that was planned.
    """

    kept: float | None = None
    agreement: float | None = None
    original: float | None = None
    rows: int = 0
    as_planned: float | None = None


@dataclass(frozen=True)
class Figures:
    """What is known of one candidate before evaluation rows are read."""

    candidate: str
    rank: int
    size: int
    timing: CandidateTiming = CandidateTiming()
    tuning: TuningQuality = TuningQuality()
    # The share of cases that no other company changes, as high as chance allows after what was seen on tuning rows.
    batch_invariance: float | None = None

    def value(self, name: str) -> float | None:
        """Return a figure by the name that an objective or a target limit has for it."""
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


@dataclass(frozen=True)
class Choice:
    """What becomes of one candidate: shortlisted, or measured only, and the sentence that says why."""

    candidate: str
    shortlisted: bool
    because: str


def shortlist(
    figures: Sequence[Figures],
    objective: Sequence[str],
    limits: Sequence[Limit],
    retention: float | None,
    length: int,
) -> tuple[Choice, ...]:
    """Choose at most `length` candidates to judge, from gentle to aggressive, and say why of all.

    `figures` stand in catalog order. Judging stops at the first candidate that does not keep the contract, so one that
    is bound to fail must not stand before one that may pass. Left out are, in this order: candidates beyond a target
    limit, which the same figures would fail; candidates whose quality on tuning rows is below `retention` by more than
    chance; candidates no better than a gentler one by over 10 % in the first objective on which they differ, or of
    which the runs do not tell whether they are: no later objective decides that. Beyond `length`, the gentlest stays as
    the one to fall back on, with the best of the others. When nothing is left the nearest miss is judged all the same,
    so that the report can say by how much the contract was missed.
    """
    ordered = sorted(enumerate(figures), key=lambda item: (item[1].rank, item[0]))
    gentle_first = [item for _, item in ordered]
    left_out: dict[str, str] = {}
    hopeful = []
    for item in gentle_first:
        reason = next(_beyond(item, limits), "") or _hopeless(item, retention)
        if reason:
            left_out[item.candidate] = reason
        else:
            hopeful.append(item)
    if not hopeful and gentle_first:
        nearest = _nearest(gentle_first, limits, retention, objective)
        because = f"nothing looks able to keep the contract; this comes nearest: {left_out.pop(nearest.candidate)}"
        return (Choice(nearest.candidate, True, because), *_dropped(gentle_first, left_out))
    kept = _not_dominated(hopeful, objective, left_out)
    if len(kept) > length:
        best = _best_first(kept, objective)[: length - 1]
        for item in kept[1:]:
            if item not in best:
                left_out[item.candidate] = f"the shortlist holds {length}, and others are better in {objective[0]}"
        kept = [item for item in kept if item.candidate not in left_out]
    chosen = tuple(Choice(item.candidate, True, _why(item, kept, objective)) for item in kept)
    return (*chosen, *_dropped(gentle_first, left_out))


def _dropped(figures: Sequence[Figures], left_out: dict[str, str]) -> tuple[Choice, ...]:
    return tuple(
        Choice(item.candidate, False, left_out[item.candidate]) for item in figures if item.candidate in left_out
    )


def _beyond(item: Figures, limits: Sequence[Limit]) -> Iterator[str]:
    for limit in limits:
        value = item.value(limit.metric)
        if value is None:
            continue
        if value > limit.threshold if limit.comparison == "at_most" else value < limit.threshold:
            verb = "at most" if limit.comparison == "at_most" else "at least"
            asked = f"{verb} {_amount(limit.threshold, limit.metric)}"
            if limit.metric == BATCH_INVARIANCE:
                yield f"at best {value:.4f} of its answers to tuning rows stay in other company, {asked} is asked"
            elif limit.metric == AS_PLANNED:
                yield f"{1 - value:.0%} of its layers run in another precision than was planned"
            else:
                name = limit.metric.replace("_", " ")
                yield f"its {name} is {_amount(value, limit.metric)}, the target says {asked}"


def _hopeless(item: Figures, retention: float | None) -> str:
    tuning, chance = item.tuning, _Z * _noise(item.tuning)
    if retention is None or tuning.kept is None or tuning.kept + chance >= retention:
        return ""
    if tuning.original is None:
        seen = f"{tuning.kept:.4f} of its answers to {tuning.rows} tuning rows agree with the original's; "
    else:
        seen = f"it keeps {tuning.kept:.4f} of the original's quality on {tuning.rows} tuning rows; "
    return seen + f"{retention:g} is asked, and chance explains at most {chance:.4f}"


def _noise(tuning: TuningQuality) -> float:
    """Return the standard error of a retention: only changed decisions can move it, and at least one may have."""
    if not tuning.rows:
        return math.inf
    changed = max((1 - (tuning.agreement if tuning.agreement is not None else 0)) * tuning.rows, 1)
    return math.sqrt(changed) / tuning.rows / max(tuning.original or 1.0, 1e-9)


def _not_dominated(
    gentle_first: Sequence[Figures], objective: Sequence[str], left_out: dict[str, str]
) -> list[Figures]:
    kept: list[Figures] = []
    for item in gentle_first:
        rival = next((other for other in kept if better(item, other, objective) <= 0), None)
        if rival is None:
            kept.append(item)
        else:
            left_out[item.candidate] = _beaten(item, rival, objective)
    return kept


def _beaten(item: Figures, rival: Figures, objective: Sequence[str]) -> str:
    gap = deciding(item, rival, objective)
    if gap is None:
        named = " or ".join(name.replace("_", " ") for name in objective)
        return f"no better than the gentler {rival.candidate} by more than {GAP:.0%} in {named}"
    if gap.runs is None:
        mine, theirs = (_amount(candidate.value(gap.objective) or 0.0, gap.objective) for candidate in (item, rival))
        return (
            f"its {gap.objective.replace('_', ' ')} of {mine} is worse than {theirs} of the gentler {rival.candidate}"
        )
    ratio = gap.runs.ratio
    if gap.verdict == "unknown":
        cause = "the machine was too busy" if gap.runs.busy else "its runs vary too much"
        span = interval_words(ratio.lower, ratio.upper, ratio.estimate)
        return f"{cause} to tell whether it is faster than the gentler {rival.candidate} ({span}×)"
    span = interval_words(1 / ratio.upper, 1 / ratio.lower, 1 / ratio.estimate)
    slower = f"{factor_words(1 / ratio.estimate)} slower than the gentler {rival.candidate} ({span})"
    return f"{slower}{_by_cpu(gap.runs)}"


def _by_cpu(runs: PairedComparison) -> str:
    return ", by CPU time, since the machine was busy" if runs.busy and runs.clock == "cpu" else ""


@dataclass(frozen=True)
class Gap:
    """The objective on which two candidates differ; `verdict` is better, worse or unknown, for the first of them.

    `runs` says how their runs compare, where the objective is about time.
    """

    objective: str
    verdict: str
    runs: PairedComparison | None = None


def better(figures: Figures, other: Figures, objective: Sequence[str]) -> int:
    """Compare two by the first objective with a gap that counts: 1 where the first is better, -1 worse, 0 neither.

    0 also where the runs do not tell: a later objective decides nothing then.
    """
    gap = deciding(figures, other, objective)
    return 0 if gap is None else {"better": 1, "worse": -1}.get(gap.verdict, 0)


def deciding(figures: Figures, other: Figures, objective: Sequence[str]) -> Gap | None:
    """Return the first objective on which two candidates differ by a gap that counts, or cannot be told apart."""
    gaps = (_gap(figures, other, name) for name in objective)
    return next((gap for gap in gaps if gap.verdict != "alike"), None)


def _gap(item: Figures, rival: Figures, name: str) -> Gap:
    runs = compare_runs(item.timing.runs, rival.timing.runs) if name in _TIMED else None
    if runs is not None:
        return Gap(name, runs.verdict, runs)
    mine, theirs = item.value(name), rival.value(name)
    if mine is None or theirs is None or max(mine, theirs) <= min(mine, theirs) * (1 + GAP):
        return Gap(name, "alike")
    return Gap(name, "better" if (mine > theirs) == OBJECTIVES[name] else "worse")


def _best_first(kept: Sequence[Figures], objective: Sequence[str]) -> list[Figures]:
    """Order all but the gentlest, the best first: one that beats every other in turn before the order by steps."""

    def beaten(item: Figures) -> bool:
        return any(better(item, other, objective) <= 0 for other in kept if other is not item)

    return sorted(kept[1:], key=lambda item: (beaten(item), *sort_key(item, kept[0], objective)))


def sort_key(item: Figures, reference: Figures, objective: Sequence[str]) -> tuple[float, ...]:
    """Order by every objective in turn, in steps of the gap from a reference, which makes it a total order of ranks.

    Ties go to the smaller, the more faithful, the gentler.
    """
    steps = (_steps(item, reference, name) for name in objective)
    return (*steps, float(item.size), -(item.tuning.kept or 0.0), float(item.rank))


def _steps(item: Figures, reference: Figures, name: str) -> float:
    """Return how many gaps one is from a reference in an objective, less for better; infinite where it is not known."""
    value, other = item.value(name), reference.value(name)
    runs = compare_runs(item.timing.runs, reference.timing.runs) if name in _TIMED else None
    gain = math.inf
    if runs is not None:
        gain = 1 / runs.ratio.estimate
    elif value:
        gain = (other or 1.0) / value if OBJECTIVES[name] else value / (other or 1.0)
    return round(math.log(gain) / math.log(1 + GAP)) if math.isfinite(gain) else gain


def _nearest(
    figures: Sequence[Figures], limits: Sequence[Limit], retention: float | None, objective: Sequence[str]
) -> Figures:
    """Return the candidate that misses least, each miss as a share of what was asked."""

    def missed(item: Figures) -> float:
        total = 0.0 if not _hopeless(item, retention) else (retention or 0.0) - (item.tuning.kept or 0.0)
        for limit in limits:
            value = item.value(limit.metric)
            if value is not None and next(_beyond(item, (limit,)), ""):
                total += abs(value - limit.threshold) / max(limit.threshold, 1e-12)
        return total

    return min(figures, key=lambda item: (missed(item), *sort_key(item, figures[0], objective)))


def _why(item: Figures, kept: Sequence[Figures], objective: Sequence[str]) -> str:
    place = kept.index(item)
    texts = [f"{name.replace('_', ' ')} {_amount(value, name)}" for name in objective if (value := item.value(name))]
    measured = f": {', '.join(texts)}" if texts else ""
    if place == 0:
        return f"judged first, as the gentlest{measured}" if len(kept) > 1 else f"the one worth judging{measured}"
    runs = (compare_runs(item.timing.runs, other.timing.runs) for other in kept[:place] if objective[0] in _TIMED)
    by_cpu = next((text for each in runs if each is not None and (text := _by_cpu(each))), "")
    gain = f"better than every gentler one by more than {GAP:.0%}{by_cpu}"
    return f"judged {_ordinal(place + 1)}, {gain}{measured}"


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third", 4: "fourth"}.get(number, f"number {number}")


def _amount(value: float, metric: str) -> str:
    from titrant.schema.values.units import format_size, format_time

    if metric in ("size", "peak_memory"):
        return format_size(round(value))
    if metric.startswith("latency"):
        return format_time(value)
    return f"{value:,.0f} cases/s" if metric == "throughput" else f"{value:.4f}"


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
    retention, agreement = quality.get("retention"), quality.get("agreement")
    metric, original = _main_metric(quality)
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
        TuningQuality(
            kept=retention if retention is not None else agreement,
            agreement=agreement,
            original=original if metric else None,
            rows=int(quality.get("rows", 0)),
        ),
        None if invariance is None else _left_alone(len(invariance["dependent"]), invariance["rows"]),
    )


def _left_alone(changed: int, rows: int) -> float:
    """Return the share of cases that are answered alike in any company, as high as chance allows."""
    return min(1.0, 1 - changed / rows + _Z * math.sqrt(max(changed, 1)) / rows)


def _main_metric(quality: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the main metric and the original's value: classification accuracy, where it was measured."""
    value = quality.get("original", {}).get("accuracy")
    return ("accuracy", value) if value is not None else ("", None)


def limits(contract: Contract) -> tuple[Limit, ...]:
    """Return the gates that the same figures will decide."""
    return tuple(
        Limit(gate.metric, gate.comparison, gate.threshold)
        for gate in contract.gates
        if gate.metric in (BATCH_INVARIANCE, AS_PLANNED)
        or (gate.preset == "target" and gate.metric in _LIMITED and gate.comparison in ("at_most", "at_least"))
    )


def retention_asked(contract: Contract) -> float | None:
    """Return the threshold of the retention preset, None where the contract has none."""
    return next((gate.threshold for gate in contract.gates if gate.preset == "retention"), None)


def shown(item: Figures) -> dict[str, float]:
    """Return the figures that a candidate's record keeps: seconds, bytes, cases per second, fractions."""
    named = {name: item.value(name) for name in _SHOWN} | {"agreement": item.tuning.agreement}
    return {name: float(value) for name, value in named.items() if value is not None}

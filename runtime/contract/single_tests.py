"""Judge shares of cases by exact bounds, a metric's ratio between two subgroups, timings, size and memory."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from titrant.runtime.contract.evidence import Evidence, SliceAnswers, select, slice_answers
from titrant.runtime.contract.metrics import METRICS, hits
from titrant.runtime.contract.paired_tests import AT_ANY_LOOK, CLUSTERED, WHOLE_UNITS, Paired, by_bets, p_value, paired
from titrant.runtime.contract.statistics.blocks import (
    DEPENDENCE_LEVEL,
    block_means,
    block_percentile_bounds,
    spell_ratio,
    spells,
)
from titrant.runtime.contract.statistics.means import BETTING, ORDER_STATISTICS, percentile_bounds
from titrant.runtime.contract.statistics.proportions import (
    GroupShare,
    binomial_lower_bound,
    binomial_upper_bound,
    group_ratio_lower_bound,
    group_ratio_upper_bound,
)
from titrant.runtime.contract.statistics.two_samples import (
    TWO_SAMPLES,
    mean_bounds,
    mean_log_wealth,
    ratio_bounds,
    ratio_log_wealth,
    sample,
)
from titrant.runtime.contract.statistics.units import NEARLY_SINGLE, effective_share, unit_count
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.cases import PERCENTILES, blocks_for_percentile, runs_for_percentile
from titrant.schema.gate import BATCH_INVARIANCE, OFFLINE, Gate, slice_of
from titrant.schema.record import ENGINES_CHOICE, UNKNOWN, LayerPrecision, is_unlike, layers_of, share_as_planned
from titrant.schema.values.slice import Slice
from titrant.schema.values.units import format_size, format_time

EXACT_BINOMIAL = "exact binomial bound (Clopper and Pearson)"


@dataclass(frozen=True)
class _Share:
    """Which of the counted cases are good, and how to say so."""

    good: np.ndarray
    units: np.ndarray
    original: float | None
    observed: str
    clean: str
    structure: str = ""  # why no other answer than the seen ones is possible


def judge_share(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the share of good cases among those that the metric counts."""
    share = _share(gate, evidence)
    if share.structure:
        count = len(share.good)
        return GateEstimate(
            1.0, 1.0, 1.0, None, 1.0, count, 0, share.structure, share.observed,
            units=unit_count(share.units), p_value=0.0,
        )  # fmt: skip
    cases, good = len(share.good), int(share.good.sum())
    if not cases:
        raise Unassessable(f"no case counts for {gate.metric.replace('_', ' ')}: {share.observed}")
    loss = gate.threshold if gate.comparison == "at_most" else 1 - gate.threshold
    factor, units = effective_share(share.units, loss), unit_count(share.units)
    estimate, method = good / cases, EXACT_BINOMIAL + (CLUSTERED if factor < 1 else "")
    proves: Callable[[float], bool]
    least_rate = None
    if evidence.always_valid or factor < NEARLY_SINGLE:
        means, least_rate = by_bets(gate, evidence, np.zeros(cases), share.good.astype(np.float64), share.units)
        (lower, upper), method = means.bounds(), BETTING + (AT_ANY_LOOK if evidence.always_valid else WHOLE_UNITS)
        proves = partial(means.proves, gate.threshold)
    else:
        lower, upper = _share_bounds(good * factor, cases * factor, evidence.confidence)
        proves = partial(_proves_share, gate, good * factor, cases * factor, evidence.confidence)
    return GateEstimate(
        estimate, lower, upper, share.original, estimate, cases, cases - good, method, share.observed,
        clean=share.clean if good == cases else "", units=units, proves_with=proves,
        p_value=least_rate,
    )  # fmt: skip


def _share_bounds(good: float, cases: float, confidence: float) -> tuple[float, float]:
    return binomial_lower_bound(good, cases, confidence), binomial_upper_bound(good, cases, confidence)


def _proves_share(gate: Gate, good: float, cases: float, confidence: float, times: float) -> bool:
    lower, upper = _share_bounds(good * times, cases * times, confidence)
    return upper <= gate.threshold if gate.comparison == "at_most" else lower >= gate.threshold


def _share(gate: Gate, evidence: Evidence) -> _Share:
    if gate.metric == BATCH_INVARIANCE:
        return _unmixed(evidence)
    if gate.metric in ("agreement", "same_decision"):
        chosen, words = select(evidence, slice_of(gate))
        good = evidence.alike[chosen]
        what = "decisions" if evidence.original is not None else "answers"
        observed = f"{int((~good).sum())} of {len(good)} {what}{words} differ from the original's"
        return _Share(good, evidence.rows.units[chosen], None, observed, "no difference")
    cases = slice_answers(evidence, gate.metric, slice_of(gate))
    if gate.metric == "kept":
        return _kept(cases)
    if gate.metric == "precision":
        return _precision(cases)
    counted, right = hits(gate.metric, cases.candidate.decisions, cases.labels, cases.positive)
    _need_positive(cases, gate.metric)
    before = METRICS[gate.metric](cases.original, cases.labels, cases.positive)
    good = right[counted]
    noun, verb = {
        "accuracy": ("cases", "right"),
        "sensitivity": (f"{cases.positive_name} cases", "caught"),
        "specificity": (f"cases that are not {cases.positive_name}", "left alone"),
    }[gate.metric]
    observed = f"{int(good.sum())} of {len(good)} {noun}{cases.words} {verb}"
    return _Share(good, cases.units[counted], before, observed, "no miss")


def _unmixed(evidence: Evidence) -> _Share:
    """Count the cases that are answered alike alone, in the judged batch and in other company."""
    seen = evidence.invariance
    if seen is None:
        raise Unassessable("no row was asked again in other company")
    tried = np.asarray(seen["tried"], dtype=np.int64)
    good = ~np.isin(tried, seen["dependent"])
    ways = "in other company" if seen["alone"] is None else "alone or in other company"
    observed = (
        f"{int((~good).sum())} of {len(good)} cases are answered otherwise {ways} than in batches of {seen['batch']}"
    )
    fixed = seen["identical"] and not seen["scales"]
    structure = "no scale is found from the batch, and every answer is the same bit by bit" if fixed else ""
    return _Share(good, evidence.rows.units[tried], None, observed, "no difference", structure)


def _kept(cases: SliceAnswers) -> _Share:
    _need_positive(cases, "kept")
    caught = (cases.labels == cases.positive) & (cases.original.decisions == cases.positive)
    good = cases.candidate.decisions[caught] == cases.positive
    lost = f"{int((~good).sum())} of {len(good)} {cases.positive_name} cases{cases.words} that the original caught lost"
    return _Share(good, cases.units[caught], 1.0 if len(good) else None, lost, "no loss")


def _precision(cases: SliceAnswers) -> _Share:
    _need_positive(cases, "precision")
    flagged = cases.candidate.decisions == cases.positive
    good = cases.labels[flagged] == cases.positive
    before = METRICS["precision"](cases.original, cases.labels, cases.positive)
    observed = f"{int(good.sum())} of {len(good)} cases{cases.words} called {cases.positive_name} are"
    return _Share(good, cases.units[flagged], before, observed, "no false alarm")


def _need_positive(cases: SliceAnswers, metric: str) -> None:
    if cases.positive is None and metric != "accuracy":
        raise Unassessable(f"{metric} needs a class: name data.positive, or use the slice `class X`")


def judge_two_proportions(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the mean of sensitivity and specificity, each by an exact bound that fails half as often (Bonferroni)."""
    if evidence.always_valid:
        return _mean_at_any_time(gate, evidence)
    stricter = replace(evidence, confidence=(1 + evidence.confidence) / 2)
    first, second = (judge_share(replace(gate, metric=metric), stricter) for metric in ("sensitivity", "specificity"))

    def mean(name: str) -> float:
        return float(getattr(first, name) + getattr(second, name)) / 2

    fewer = min((first, second), key=lambda share: share.units or share.cases)
    estimate = mean("estimate")
    return GateEstimate(
        estimate, mean("lower"), mean("upper"), estimate, estimate, fewer.cases, None, f"two bounds: {first.method}",
        f"balanced accuracy {estimate:.4f}: {first.observed}, {second.observed}",
        counted="cases of the smaller class", units=fewer.units,
    )  # fmt: skip


def _mean_at_any_time(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the mean of sensitivity and specificity by the product of what bets on either win."""
    first, second = (_share(replace(gate, metric=metric), evidence) for metric in ("sensitivity", "specificity"))
    if not len(first.good) or not len(second.good):
        raise Unassessable("all cases are of one kind, and there is no balanced accuracy")
    samples = sample(first.good, first.units), sample(second.good, second.units)
    lower, upper = mean_bounds(*samples, gate.threshold, evidence.confidence)
    estimate = (samples[0].share + samples[1].share) / 2
    fewer = min((first, second), key=lambda share: unit_count(share.units))
    return GateEstimate(
        estimate, lower, upper, estimate, estimate, len(fewer.good), None, TWO_SAMPLES,
        f"balanced accuracy {estimate:.4f}: {first.observed}, {second.observed}",
        counted="cases of the smaller class", units=unit_count(fewer.units),
        p_value=p_value(mean_log_wealth(*samples, gate.threshold)),
        proves_with=lambda times: (
            mean_log_wealth(samples[0].times(times), samples[1].times(times), gate.threshold)
            >= -math.log(1 - evidence.confidence)
        ),
    )  # fmt: skip


def judge_groups(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the candidate's metric in the first group over that in the second; the groups share no case."""
    sides = slice_of(gate).sides()
    if len(sides) != 2:
        raise Unassessable("it compares two values of a subgroup, and names no two")
    groups = [paired(gate.metric, side, evidence) for side in sides]
    (first, units), (second, others) = (_group_share(gate, side, evidence) for side in sides)
    means = [float(group.candidate.mean()) for group in groups]
    before = [float(group.original.mean()) for group in groups]
    if not means[1]:
        raise Unassessable(f"the {gate.metric} in {sides[1].subgroup} is 0")
    bound = _groups_at_any_time if evidence.always_valid else _groups_at_once
    bounds = bound(gate, (first, second), groups, evidence.confidence)
    texts = [
        f"{mean:.4f} in {side.subgroup} ({int(group.candidate.sum())} of {len(group.candidate)})"
        for mean, side, group in zip(means, sides, groups, strict=True)
    ]
    clustered = units < len(groups[0].units) or others < len(groups[1].units)
    return replace(
        bounds, estimate=means[0] / means[1], original=before[0] / before[1] if before[1] else None,
        candidate=means[0] / means[1], cases=min(units, others),
        method=bounds.method + (CLUSTERED if clustered and not evidence.always_valid else ""),
        observed=f"{gate.metric} {texts[0]} against {texts[1]}", counted="cases in the smaller group",
    )  # fmt: skip


def _groups_at_once(
    gate: Gate, shares: tuple[GroupShare, GroupShare], groups: Sequence[Paired], confidence: float
) -> GateEstimate:
    """Bound the ratio of two groups' shares; the estimate itself is filled in by the caller."""
    first, second = shares
    lower, method = group_ratio_lower_bound(first, second, confidence)

    def proves(times: float) -> bool:
        return group_ratio_lower_bound(first.times(times), second.times(times), confidence)[0] >= gate.threshold

    upper = group_ratio_upper_bound(first, second, confidence)
    return GateEstimate(None, lower, upper, None, None, 0, None, method, "", proves_with=proves)


def _groups_at_any_time(
    gate: Gate, shares: tuple[GroupShare, GroupShare], groups: Sequence[Paired], confidence: float
) -> GateEstimate:
    """Bound the ratio of two groups' shares as `_groups_at_once` does, at any number of looks."""
    first, second = (sample(group.candidate, group.units) for group in groups)
    lower, upper = ratio_bounds(first, second, gate.threshold, confidence)
    won = ratio_log_wealth(first, second, gate.threshold)

    def proves(times: float) -> bool:
        return ratio_log_wealth(first.times(times), second.times(times), gate.threshold) >= -math.log(1 - confidence)

    return GateEstimate(
        None, lower, upper, None, None, 0, None, TWO_SAMPLES, "", proves_with=proves, p_value=p_value(won)
    )


def _group_share(gate: Gate, side: Slice, evidence: Evidence) -> tuple[GroupShare, int]:
    """Return a group's share among as many cases as its rows are worth, and its units."""
    key = ("share", gate.metric, side, gate.threshold)
    if key not in evidence.made:
        group = paired(gate.metric, side, evidence)
        factor = effective_share(group.units, 1 - gate.threshold)
        share = GroupShare(float(group.candidate.sum()) * factor, len(group.candidate) * factor)
        evidence.made[key] = share, unit_count(group.units)
    share_and_units: tuple[GroupShare, int] = evidence.made[key]
    return share_and_units


# Of the candidate and the original alone, after the choice: see docs/decisions/search.md.
BETS_ON_BLOCKS = "bets on blocks of runs, which lie apart in time"
TIMED_ANEW = ", of runs after the choice"


def judge_timed(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound a percentile of the seconds of one batch, or the throughput at their median."""
    figures = evidence.figures
    if figures is None:
        raise Unassessable("it was not timed")
    if "failed" in figures:
        raise Unassessable(f"it failed while it was timed: {figures['failed']}")
    timing = figures.get(str(evidence.timing_batch))
    if timing is None:
        raise Unassessable(f"batch size {evidence.timing_batch} was not timed")
    share, runs = PERCENTILES[gate.metric], timing["samples"]
    least, counted, method, dependent = runs_for_percentile(share, evidence.confidence), "runs", ORDER_STATISTICS, ""
    blocks = timing.get("blocks")
    if gate.test == OFFLINE:  # one batch after another: of a block counts what all of its runs took
        runs = block_means(np.asarray(runs), blocks or [len(runs)])
        timing = timing | {"p50": float(np.median(np.asarray(runs)))}
        blocks, counted = [], "blocks of runs"
    ran = counted
    if blocks:
        least, counted, method = blocks_for_percentile(share, evidence.confidence), "blocks of runs", BETS_ON_BLOCKS
        lower, upper = block_percentile_bounds(np.asarray(runs), blocks, share, evidence.confidence)
        chance = spells(np.asarray(runs), blocks)
        if chance <= DEPENDENCE_LEVEL:
            ratio = spell_ratio(np.asarray(runs), blocks)
            lower, upper = lower and lower / ratio, upper and upper * ratio
            dependent = (
                f"; slow runs come in spells (p = {chance:.2g}, Wald and Wolfowitz), which prove less than their "
                f"number, so the bound is taken {ratio:.3g} × further"
            )
    else:
        lower, upper = percentile_bounds(sorted(runs), share, evidence.confidence)
    name = f"p{100 * share:.0f}"
    estimate = timing[name]
    before = (evidence.original_figures or {}).get(str(evidence.timing_batch), {}).get(name)
    observed = f"{name} of {len(runs)} runs at batch {evidence.timing_batch} is {format_time(estimate)}"
    if gate.metric == "throughput":
        batch = evidence.timing_batch
        estimate = batch / estimate
        lower, upper = (batch / upper if upper else None), (batch / lower if lower else None)
        observed = f"{estimate:,.0f} cases a second at the median of {len(runs)} {ran} at batch {batch}"
        before = batch / before if before else None
    observed += dependent
    deciding = lower if gate.metric == "throughput" else upper
    seen = len(blocks) if blocks else len(runs)
    missing = "" if deciding is not None else f"{seen} {counted}, and {least} are needed to bound {name}"
    return GateEstimate(
        estimate, lower, upper, before, estimate, seen, None, method + TIMED_ANEW, observed,
        missing=missing, least=least, counted=counted,
    )  # fmt: skip


def judge_counted(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Compare a size that is known exactly, or the peak memory, of which the largest of five processes is a bound."""
    if gate.metric == "size":
        if evidence.size is None:
            raise Unassessable("the size is not known")
        size = float(evidence.size)
        return GateEstimate(size, size, size, None, size, 1, None, "counted", f"size is {format_size(evidence.size)}")
    peaks = sorted((evidence.figures or {}).get("peak_samples", ()))
    if not peaks:
        raise Unassessable("the peak memory is not known: it is measured on Linux, on the CPU, with target.threads 1")
    lower, upper = percentile_bounds(peaks, 0.5, evidence.confidence)
    largest, least = float(peaks[-1]), runs_for_percentile(0.5, evidence.confidence)
    before = (evidence.original_figures or {}).get("peak_bytes")
    words = f"peak memory is {format_size(peaks[-1])}, the largest of {len(peaks)} processes"
    return GateEstimate(
        largest, lower, None if upper is None else largest, before, largest, len(peaks), None, ORDER_STATISTICS, words,
        missing="" if upper is not None else f"{least} processes are needed to bound it", least=least,
        counted="processes",
    )  # fmt: skip


_READ_BACK = "read back from the engine"
_SHOWN = 3


def judge_executed(gate: Gate, evidence: Evidence) -> GateEstimate:
    """FAIL where a layer runs otherwise than planned, open where one is not found or the engine cannot tell.

    The estimate is the share of layers that run as planned, of those that were found.
    """
    executed = evidence.executed
    if executed is None:
        raise Unassessable("the engine was not asked what it runs")
    if executed["untold"]:
        raise Unassessable(f"the engine cannot tell: {executed['untold']}")
    rows = layers_of(executed)
    unlike, lost = [row for row in rows if is_unlike(row)], [row for row in rows if row.executed == UNKNOWN]
    read_back = len({row.name for row in rows if row.planned != ENGINES_CHOICE and row.executed != UNKNOWN})
    wrong, share = len({row.name for row in unlike}), share_as_planned(rows)
    share = 1.0 if share is None else share
    missing = "" if wrong or not lost else f"{_named(lost)} cannot be found in what the engine runs"
    observed = _runs(rows, unlike, read_back - wrong)
    return GateEstimate(
        share, share, share, None, share, read_back, wrong, _READ_BACK, observed, missing=missing, counted="layers"
    )


def _runs(rows: Sequence[LayerPrecision], unlike: Sequence[LayerPrecision], right: int) -> str:
    if unlike:
        shown = unlike[:_SHOWN]
        ways = ", ".join(f"{row.name} in {row.executed} ({row.engine_op}), planned {row.planned}" for row in shown)
        more = f" and {len(unlike) - _SHOWN} more" if len(unlike) > _SHOWN else ""
        return f"the engine runs {ways}{more}, and {right} layers as planned"
    counts: dict[str, set[str]] = {}
    for row in rows:
        if row.name and row.executed != UNKNOWN:
            chosen = f"{row.executed} by the engine's choice" if row.planned == ENGINES_CHOICE else row.executed
            counts.setdefault(chosen, set()).add(row.name)
    said = ", ".join(f"{len(names)} in {precision}" for precision, names in counts.items())
    if said:
        return f"every layer runs as planned: {said}"
    rest = ", ".join(dict.fromkeys(f"{row.executed} ({row.engine_op})" for row in rows if row.executed != UNKNOWN))
    return "there is no layer whose precision is planned" + (f"; the engine runs {rest}" if rest else "")


def _named(rows: Sequence[LayerPrecision]) -> str:
    names = list(dict.fromkeys(row.name for row in rows))
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")

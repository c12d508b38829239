"""Judge times, memory and bytes of a candidate as a ratio to those of an earlier release, timed in the same turns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import open_result, result_of
from titrant.runtime.contract.measures.judging import judge_every
from titrant.runtime.contract.statistics.blocks import (
    DEPENDENCE_LEVEL,
    block_percentile_bounds,
    spell_ratio,
    spells,
)
from titrant.runtime.contract.statistics.means import percentile_bounds
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.cases import PERCENTILES, blocks_for_percentile, runs_for_percentile
from titrant.schema.contract.earlier import REGRESSION
from titrant.schema.gate import PAIRED_MEDIAN, PEAK_RATIO, PERCENTILE_RATIO, SIZE_RATIO, Gate, GateResult
from titrant.schema.values.units import format_size, format_time

PAIRED = "paired by turns: the median of the ratios of both runs of a turn, by bets on blocks"
TWO_BOUNDS = "a bound of either percentile, each of which fails half as often (Bonferroni)"
TWO_PEAKS = "the largest of the new over the smallest of the stored, as order statistics (Bonferroni)"


def judge_with_earlier(gate: Gate, evidence: Evidence) -> GateResult:
    """Answer one gate; one of a ratio to an earlier release is given the evidence beside that one.

    INCONCLUSIVE with the reason where either file was not timed or measured.
    """
    if gate.test not in TESTS:
        return judge_every(gate, evidence)
    try:
        return result_of(gate, TESTS[gate.test](gate, evidence), evidence.confidence)
    except Unassessable as unassessable:
        return open_result(gate, str(unassessable))


def beside_earlier(
    evidence: Evidence,
    answered: Mapping[str, Evidence],
    permuted: Mapping[str, "np.ndarray | None"],
    measured: tuple[Mapping[str, Any] | None, int | None],
) -> Evidence:
    """Add the same candidate beside earlier releases, by the preset of the rows that compare with them.

    `answered` have both files' answers and `permuted` what controls need without labels; `measured` are the figures and
    the bytes of the release of REGRESSION rows, whose answers nobody asks for where no row is about them.
    """
    figures, size = measured
    common = {name: getattr(evidence, name) for name in _COMMON}
    earlier = {name: replace(beside, **common, permuted_alike=permuted.get(name)) for name, beside in answered.items()}
    earlier.setdefault(REGRESSION, evidence)
    earlier[REGRESSION] = replace(earlier[REGRESSION], original_figures=figures, original_size=size)
    return replace(evidence, earlier=earlier)


# What is of the candidate and of the judging alone, whatever it is compared with.
_COMMON = (
    "confidence",
    "always_valid",
    "stratified",
    "named_from",
    "seed",
    "figures",
    "timing_batch",
    "size",
    "executed",
    "invariance",
)


@dataclass(frozen=True)
class _Turns:
    """The runs of both files at one batch size, (turns,) seconds each in the order of the turns, and their blocks."""

    new: np.ndarray
    stored: np.ndarray
    blocks: tuple[int, ...]
    batch: int


def _turns(evidence: Evidence) -> _Turns:
    batch = str(evidence.timing_batch)
    new, stored = (_figures(figures).get(batch) for figures in (evidence.figures, evidence.original_figures))
    if new is None or stored is None:
        raise Unassessable(f"batch size {batch} was not timed")
    mine, theirs = np.asarray(new["samples"]), np.asarray(stored["samples"])
    if len(mine) != len(theirs) or not len(mine) or theirs.min() <= 0:
        raise Unassessable("their runs are not of the same turns")
    return _Turns(mine, theirs, tuple(new["blocks"]) or (1,) * len(mine), evidence.timing_batch)


def _figures(figures: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if figures is None:
        raise Unassessable("both files were not timed together")
    if "failed" in figures:
        raise Unassessable(f"one failed while both were timed: {figures['failed']}")
    return figures


def _median(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the median of new over stored in one turn: a slow spell falls on both runs of it."""
    turns = _turns(evidence)
    ratios = turns.new / turns.stored
    lower, upper = _in_spells(turns, block_percentile_bounds(ratios, turns.blocks, 0.5, evidence.confidence))
    least = blocks_for_percentile(0.5, evidence.confidence)
    return _answered(turns, 0.5, GateEstimate(
        float(np.median(ratios)), lower, upper, None, None, len(turns.blocks), None, PAIRED, "", least=least,
    ))  # fmt: skip


def _percentile(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the ratio of two percentiles by a bound of each: turns say nothing of which run is a slow one."""
    turns, share = _turns(evidence), PERCENTILES[gate.metric]
    stricter = (1 + evidence.confidence) / 2
    new, stored = (block_percentile_bounds(runs, turns.blocks, share, stricter) for runs in (turns.new, turns.stored))
    upper = new[1] / stored[0] if new[1] is not None and stored[0] else None
    lower = new[0] / stored[1] if new[0] is not None and stored[1] else None
    lower, upper = _in_spells(turns, (lower, upper))
    estimate = float(np.quantile(turns.new, share) / np.quantile(turns.stored, share))
    least = blocks_for_percentile(share, stricter)
    return _answered(turns, share, GateEstimate(
        estimate, lower, upper, None, None, len(turns.blocks), None, TWO_BOUNDS, "", least=least,
    ))  # fmt: skip


def _in_spells(turns: _Turns, bounds: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    """Take bounds further where one file is slower than the other in spells, which prove less than their number.

    A spell in which the machine is slow falls on both runs of a turn, and leaves their ratio as it is.
    """
    ratios = turns.new / turns.stored
    further = spell_ratio(ratios, turns.blocks) if spells(ratios, turns.blocks) <= DEPENDENCE_LEVEL else 1.0
    lower, upper = bounds
    return lower and lower / further, upper and upper * further


def _answered(turns: _Turns, share: float, bounded: GateEstimate) -> GateEstimate:
    """Say what was seen of both files, and how many blocks of turns a bound would need where there is none."""
    new, stored = (format_time(float(np.quantile(runs, share))) for runs in (turns.new, turns.stored))
    seen = f"p{100 * share:.0f} of {len(turns.new)} turns at batch {turns.batch} is {new}"
    missing = f"{len(turns.blocks)} blocks of turns, and {bounded.least} are needed to bound it"
    return replace(
        bounded,
        observed=f"{seen}, and {stored} of the earlier release",
        missing="" if bounded.upper is not None else missing,
        counted="blocks of turns",
    )


def _peak(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound the ratio of two medians of the peak memory, each measured in several processes."""
    new, stored = (
        sorted(_figures(figures).get("peak_samples", ())) for figures in (evidence.figures, evidence.original_figures)
    )
    if not new or not stored or not stored[0]:
        raise Unassessable("the peak memory is not known: it is measured on Linux, on the CPU, with target.threads 1")
    stricter = (1 + evidence.confidence) / 2
    bounds_new, bounds_stored = (percentile_bounds(peaks, 0.5, stricter) for peaks in (new, stored))
    bounded = bounds_new[1] is not None and bounds_stored[0] is not None
    upper = new[-1] / stored[0] if bounded else None
    lower = new[0] / stored[-1] if bounded else None
    least = runs_for_percentile(0.5, stricter)
    return GateEstimate(
        new[-1] / stored[-1], lower, upper, None, None, len(new), None, TWO_PEAKS,
        f"peak memory is {format_size(new[-1])}, and {format_size(stored[-1])} of the earlier release, the largest of "
        f"{len(new)} processes each",
        missing="" if bounded else f"{len(new)} processes, and {least} are needed to bound it", least=least,
        counted="processes",
    )  # fmt: skip


def _size(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Compare bytes, which are known exactly."""
    if evidence.size is None or not evidence.original_size:
        raise Unassessable("the size is not known")
    ratio = evidence.size / evidence.original_size
    words = f"size is {format_size(evidence.size)}, and {format_size(evidence.original_size)} of the earlier release"
    return GateEstimate(ratio, ratio, ratio, None, None, 1, None, "counted", words)


TESTS: Mapping[str, Callable[[Gate, Evidence], GateEstimate]] = {
    PAIRED_MEDIAN: _median,
    PERCENTILE_RATIO: _percentile,
    PEAK_RATIO: _peak,
    SIZE_RATIO: _size,
}

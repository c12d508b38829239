"""Pure functions that read candidates' figures from what steps answered, and decide which to judge in which order."""

import math
from collections.abc import Iterator, Sequence

from titrant.runtime.contract.statistics.paired_runs import (
    GAP,
    HEADLINE,
    MIXTURE_GAP,
    ROUNDS,
    TIME_GAP,
    Margins,
    PairedComparison,
    compare_runs,
)
from titrant.runtime.run.choice.figures import Figures, Limit, Z, noise, surely_keeps
from titrant.runtime.run.choice.own_figure import own_steps, own_verdict
from titrant.schema.gain import factor_words, interval_words
from titrant.schema.gate import AS_PLANNED, BATCH_INVARIANCE
from titrant.schema.recipe.own_metric import is_own
from titrant.schema.values.frozen import dataclass

# objective → whether more of it is better
OBJECTIVES = {"latency": False, "size": False, "peak_memory": False, "throughput": True, "quality": True}
# What the runs themselves are compared by, round by round.
_TIMED = ("latency", "throughput")
# Of the less gentle of two. Where the runs leave open whether it is slower by a tenth, its size does not decide.
_AGAINST_GENTLER = Margins(TIME_GAP, slower=GAP, faster=math.inf)


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
    chance; those that harm a subgroup there; mixtures, which were searched for on these rows, that do not keep what is
    asked beyond chance; candidates no better
    than a gentler one in the first objective on which they differ (3 % of its time where the interval of the paired
    ratio leaves 1 out, 10 % of another figure, 5 % of a mixture's), or of which the runs do not tell whether they are:
    no later objective decides that. All plain conversions but the best are left out first: none of them is the gentler.
    Beyond `length`, the gentlest stays as the one to fall back on, with the best of the others. When nothing is left
    the nearest miss is judged all the same, so that the report can say by how much the contract was missed.
    """
    ordered = sorted(enumerate(figures), key=lambda item: (item[1].rank, _lost_by_mixture(item[1]), item[0]))
    gentle_first = [item for _, item in ordered]
    left_out = ruled_out(gentle_first, limits, retention)
    hopeful = [item for item in gentle_first if item.candidate not in left_out]
    if not hopeful and gentle_first:
        nearest = _nearest(gentle_first, limits, retention, objective)
        because = f"nothing looks able to keep the contract; this comes nearest: {left_out.pop(nearest.candidate)}"
        return (Choice(nearest.candidate, True, because), *_dropped(gentle_first, left_out))
    kept = _not_dominated(_one_plain(hopeful, objective, left_out), objective, left_out)
    if len(kept) > length:
        best = _best_first(kept, objective)[: length - 1]
        for item in kept[1:]:
            if item not in best:
                left_out[item.candidate] = f"the shortlist holds {length}, and others are better in {objective[0]}"
        kept = [item for item in kept if item.candidate not in left_out]
    chosen = tuple(Choice(item.candidate, True, _why(item, kept, objective)) for item in kept)
    return (*chosen, *_dropped(gentle_first, left_out))


def ruled_out(figures: Sequence[Figures], limits: Sequence[Limit], retention: float | None) -> dict[str, str]:
    """Return the candidates that cannot keep the contract by what is known of them, timed or not, and why not."""
    reasons = {
        item.candidate: next(_beyond(item, limits), "")
        or _hopeless(item, retention)
        or item.harms
        or _unsure(item, retention)
        for item in figures
    }
    return {name: reason for name, reason in reasons.items() if reason}


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
    tuning, chance = item.tuning, Z * noise(item.tuning)
    least = tuning.least
    if retention is None or least is None or least + chance >= retention:
        return ""
    if tuning.original is None:
        seen = f"{least:.4f} of its answers to {tuning.rows} tuning rows agree with the original's; "
    else:
        whose = "original's" if least == tuning.kept else "fine-tuned original's"
        seen = f"it keeps {least:.4f} of the {whose} quality on {tuning.rows} tuning rows; "
    return seen + f"{retention:g} is asked, and chance explains at most {chance:.4f}"


def _lost_by_mixture(item: Figures) -> float:
    """Return what a mixture lost: mixtures have one rank, and the one that lost least is the gentlest."""
    return -(item.tuning.kept or 0.0) if item.mixture else 0.0


def _unsure(item: Figures, retention: float | None) -> str:
    """Say why a mixture is not judged: it was searched for on tuning rows, so that luck on them is to be expected."""
    if not item.mixture or retention is None or surely_keeps(item.tuning, retention):
        return ""
    seen = f"it keeps {item.tuning.kept or 0.0:.4f} on {item.tuning.rows} tuning rows"
    return f"{seen}, and at least {item.tuning.lower or 0.0:.4f} beyond chance: {retention:g} is asked"


def _one_plain(gentle_first: Sequence[Figures], objective: Sequence[str], left_out: dict[str, str]) -> list[Figures]:
    """Leave one of the plain conversions, the best: none of them is the gentler, since the original is in all of them.

    One that keeps less on tuning rows, for whatever reason, takes the place of none. Where the objectives do not tell
    them apart, time and size do.
    """
    objective = tuple(dict.fromkeys((*objective, "latency", "size")))
    plain = [item for item in gentle_first if item.plain]
    best = next(iter(plain), None)
    for item in plain[1:]:
        assert best is not None  # the first of them
        if (item.tuning.kept or 0.0) < (best.tuning.kept or 0.0):
            continue
        if better(item, best, objective) > 0:
            left_out[best.candidate] = _beaten(best, item, objective, which="")
            best = item
        else:
            left_out[item.candidate] = _beaten(item, best, objective, which="")
    return [item for item in gentle_first if item.candidate not in left_out]


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


def _beaten(item: Figures, rival: Figures, objective: Sequence[str], which: str = "the gentler ") -> str:
    gap = deciding(item, rival, objective)
    if gap is None:
        shares = [f"{_counts(item, rival, name):.0%} in {_called(name)}" for name in objective]
        return f"no better than {which}{rival.candidate} by more than {' or '.join(shares)}"
    if gap.runs is None:
        mine, theirs = (_amount(candidate.value(gap.objective) or 0.0, gap.objective) for candidate in (item, rival))
        return f"its {_called(gap.objective)} of {mine} is worse than {theirs} of {which}{rival.candidate}"
    ratio = gap.runs.ratio
    if gap.runs.interval is None:
        return f"there are too few runs to tell whether it is faster than {which}{rival.candidate}"
    if gap.verdict == "unknown":
        cause = "the machine was too busy" if gap.runs.busy else "its runs vary too much"
        span = interval_words(ratio.lower, ratio.upper, ratio.estimate)
        return f"{cause} to tell whether it is faster than {which}{rival.candidate} ({span}×)"
    span = interval_words(1 / ratio.upper, 1 / ratio.lower, 1 / ratio.estimate)
    slower = f"{factor_words(1 / ratio.estimate)} slower than {which}{rival.candidate} ({span})"
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
    counts = _counts(item, rival, name)
    if is_own(name):
        return Gap(name, own_verdict(item.own_figure(name), rival.own_figure(name), counts))
    runs = _paired(item, rival) if name in _TIMED else None
    if runs is not None:
        return Gap(name, runs.verdict, runs)
    mine, theirs = item.value(name), rival.value(name)
    if mine is None or theirs is None or max(mine, theirs) <= min(mine, theirs) * (1 + counts):
        return Gap(name, "alike")
    return Gap(name, "better" if (mine > theirs) == OBJECTIVES[name] else "worse")


def _paired(item: Figures, rival: Figures) -> PairedComparison | None:
    """Compare the runs of two candidates: the less gentle has to show that it is not the slower one."""
    margins = _AGAINST_GENTLER.turned() if item.rank < rival.rank else _AGAINST_GENTLER
    return compare_runs(item.timing.runs, rival.timing.runs, margins if _tell_little(item, rival) else HEADLINE)


def _tell_little(item: Figures, rival: Figures) -> bool:
    """Whether there are rounds enough for an interval of their ratio, by which a small difference is told."""
    return min(len(item.timing.runs.wall), len(rival.timing.runs.wall)) >= ROUNDS


def _counts(item: Figures, rival: Figures, name: str) -> float:
    """Return the share from which on a gap between two candidates counts in an objective."""
    if name in _TIMED and _tell_little(item, rival):
        return TIME_GAP
    return MIXTURE_GAP if item.mixture or rival.mixture else GAP


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
    if is_own(name):
        return own_steps(item.own_figure(name), reference.own_figure(name), GAP)
    value, other = item.value(name), reference.value(name)
    runs = _paired(item, reference) if name in _TIMED else None
    gain = math.inf
    if runs is not None:
        gain = 1 / runs.ratio.estimate
    elif value:
        gain = (other or 1.0) / value if OBJECTIVES[name] else value / (other or 1.0)
    step = TIME_GAP if name in _TIMED and _tell_little(item, reference) else GAP
    return round(math.log(gain) / math.log(1 + step)) if math.isfinite(gain) else gain


def _nearest(
    figures: Sequence[Figures], limits: Sequence[Limit], retention: float | None, objective: Sequence[str]
) -> Figures:
    """Return the candidate that misses least, each miss as a share of what was asked."""

    def missed(item: Figures) -> float:
        total = 0.0 if not _hopeless(item, retention) else (retention or 0.0) - (item.tuning.least or 0.0)
        total += max(seen["spent"] for seen in item.tuning.groups.values()) - 1 if item.harms else 0.0
        for limit in limits:
            value = item.value(limit.metric)
            if value is not None and next(_beyond(item, (limit,)), ""):
                total += abs(value - limit.threshold) / max(limit.threshold, 1e-12)
        return total

    return min(figures, key=lambda item: (missed(item), *sort_key(item, figures[0], objective)))


def _why(item: Figures, kept: Sequence[Figures], objective: Sequence[str]) -> str:
    place = kept.index(item)
    figures = {name: item.value(name) for name in objective}
    texts = [f"{_called(name)} {_amount(value, name)}" for name, value in figures.items() if value is not None]
    measured = f": {', '.join(texts)}" if texts else ""
    if place == 0:
        return f"judged first, as the gentlest{measured}" if len(kept) > 1 else f"the one worth judging{measured}"
    runs = (_paired(item, other) for other in kept[:place] if objective[0] in _TIMED)
    by_cpu = next((text for each in runs if each is not None and (text := _by_cpu(each))), "")
    gaps = [deciding(item, other, objective) for other in kept[:place]]
    decided = [name for name in objective if any(gap is not None and gap.objective == name for gap in gaps)]
    gain = f"better than every gentler one in {' or '.join(map(_called, decided))}{by_cpu}"
    return f"judged {_ordinal(place + 1)}, {gain}{measured}"


def _called(objective: str) -> str:
    return objective if is_own(objective) else objective.replace("_", " ")


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third", 4: "fourth"}.get(number, f"number {number}")


def _amount(value: float, metric: str) -> str:
    from titrant.schema.values.units import format_size, format_time

    if metric in ("size", "peak_memory"):
        return format_size(round(value))
    if metric.startswith("latency"):
        return format_time(value)
    return f"{value:,.0f} cases/s" if metric == "throughput" else f"{value:.4f}"

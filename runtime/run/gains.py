"""What a candidate that was judged gains, and what each of its reductions gave by itself, as it was measured."""

from collections.abc import Callable, Mapping
from typing import Any

from titrant.runtime.backends import backend
from titrant.runtime.contract.statistics.paired_runs import GAP, compare_runs, timed_runs
from titrant.runtime.run.walk import Walk
from titrant.schema.gain import Gain
from titrant.schema.gain_parts import (
    STUDENT,
    GainParts,
    ReducedNetwork,
    ReductionGain,
    fastest,
    fp32_files,
    gain_parts,
    halfway,
    is_reduced,
    reduced_networks,
)
from titrant.schema.min_cell import min_cell
from titrant.schema.plan import Candidate, CandidateSearch, Plan
from titrant.schema.recipe.own_metric import is_own
from titrant.schema.values.frozen import dataclass, replace
from titrant.schema.values.units import is_small

_TIMED = ("latency", "throughput")
# What operators that reduce measure, each a share of what they were given.
REMOVED, MASKED = "parameters_removed", "weights_masked"


@dataclass(frozen=True)
class Measured:
    """What a candidate and its rivals are compared by: timings at one batch size, and bytes of files by model name.

    `anew` says that the runs judged; otherwise they are those that chose.
    """

    timings: Mapping[str, Any]
    batch: int
    sizes: Mapping[str, int]
    anew: bool


def gains(walk: Walk, candidate: Candidate) -> tuple[Gain, ...]:
    """Compare a candidate in every objective of its search that files are compared by, the plain conversion first."""
    search = _search_of(walk, candidate)
    anew = timed_anew(walk, candidate)
    timings = anew or walk.value_if_there(search.timings) or {}
    measured = Measured(timings, search.timing_batch, _sizes(walk, search.timings), anew is not None)
    # What answers are worth is told by the gates; how fast a file is, by whatever a search is after.
    measurable = [name for name in search.objective if name != "quality" and not is_own(name)] or ["latency"]
    asked = (
        Gain(objective, place == 0, rival, _title(candidate, rival), rival == candidate.plain, 1.0, "alike")
        for place, objective in enumerate(measurable)
        for rival in dict.fromkeys(filter(None, (candidate.plain, _fastest(walk, search, candidate), "original")))
    )
    return tuple(gain for each in asked if (gain := _gain(measured, candidate.id, each)) is not None)


def _fastest(walk: Walk, search: CandidateSearch, candidate: Candidate) -> str | None:
    """Return the fastest fp32 file of any engine, None where that is the candidate itself."""
    name = fastest(fp32_files(walk.plan, search), _medians(walk, search))
    return None if name == candidate.id else name


def _medians(walk: Walk, search: CandidateSearch) -> Callable[[str], float | None]:
    timings, batch = walk.value_if_there(search.timings) or {}, str(search.timing_batch)

    def seconds(name: str) -> float | None:
        p50: float | None = timings.get(name, {}).get(batch, {}).get("p50")
        return p50

    return seconds


def parts(walk: Walk, candidate: Candidate) -> GainParts | None:
    """Tell a candidate's gain over the original apart, by the runs that chose: only they have every fp32 file."""
    search = _search_of(walk, candidate)
    files, timings = fp32_files(walk.plan, search), walk.value_if_there(search.timings) or {}
    measured = Measured(timings, search.timing_batch, _sizes(walk, search.timings), anew=False)

    def speed(before: str, after: str) -> Gain | None:
        return _timed(measured, after, Gain("latency", True, before, before, before in files, 1.0, "alike"))

    return gain_parts(
        candidate, files, _medians(walk, search), measured.sizes.get, speed=speed,
        between=halfway(walk.plan, candidate), reduced=is_reduced(walk.plan, candidate),
    )  # fmt: skip


def reductions(walk: Walk, candidate: Candidate) -> tuple[ReductionGain, ...]:
    """Say of every reduction how much smaller it made the network, and what that keeps before it is quantized."""
    networks = reduced_networks(walk.plan.steps, walk.plan.original, candidate)
    return tuple(
        _with_kept(walk, _smaller(walk, network), reference)
        # A plan of an earlier version asks nothing of them.
        for network, reference in zip(networks, candidate.reduced, strict=False)
    )


def _smaller(walk: Walk, network: ReducedNetwork) -> ReductionGain:
    """Return what a step measured of its parameters, and of a student the bytes of its file beside the original's."""
    if network.operator == STUDENT:
        before, after = (walk.artifacts[reference].size for reference in (walk.plan.original, network.model))
        return ReductionGain(STUDENT, before / after, "bytes", trained=network.trained)
    result = walk.records[network.step].result
    measured = {each.name: each.value for each in result.measurements} if result is not None else {}
    ratio = 1 / (1 - measured.get(REMOVED, 0.0))
    return ReductionGain(network.operator, ratio, "parameters", measured.get(MASKED, 0.0), network.trained)


def _with_kept(walk: Walk, reduction: ReductionGain, reference: str) -> ReductionGain:
    """Add what a network keeps on evaluation rows, where that was asked, and is about no small group."""
    name = reference.rpartition(".")[0]
    if (value := walk.value_if_there(reference)) is None:
        return replace(reduction, because=walk.reason(name))
    (result,) = value["results"]
    counts = [result[name] for name in ("cases", "units") if result[name] is not None]
    if any(is_small(count, min_cell(walk.plan)) for count in counts):
        return replace(reduction, because="there are too few evaluation rows to show it (report.min_cell)")
    if result["estimate"] is None:
        return replace(reduction, because=result["reason"])
    step = next(step for step in walk.plan.steps if step.id == name)
    (gate,) = step.params["gates"]
    return replace(
        reduction, metric=gate["metric"], beside=gate["comparison"] != "retention", kept=result["estimate"],
        lower=result["lower"], confidence=step.params["confidence"], rows=result["cases"],
    )  # fmt: skip


def latency_gain(walk: Walk, candidate: Candidate) -> Gain | None:
    """Compare the time of one batch with that of the plain conversion in the same engine, or of the original.

    By the runs that chose, whatever the objective; None where they cannot be paired.
    """
    search = _search_of(walk, candidate)
    measured = Measured(walk.value_if_there(search.timings) or {}, search.timing_batch, {}, anew=False)
    rival = candidate.plain or "original"
    asked = Gain("latency", True, rival, _title(candidate, rival), bool(candidate.plain), 1.0, "alike")
    return _timed(measured, candidate.id, asked)


def _search_of(walk: Walk, candidate: Candidate) -> CandidateSearch:
    return next(search for search in walk.plan.searches if candidate.id in search.candidates)


def _title(candidate: Candidate, rival: str) -> str:
    if rival == "original":
        return "the original"
    if rival != candidate.plain:
        return f"{rival}, the fastest fp32 file"
    return f"plain {backend.kind_of_format(candidate.format).label}"


def timed_anew(walk: Walk, candidate: Candidate) -> Mapping[str, Any] | None:
    """Return the timings that a candidate was judged by, None where no gate is about time or memory."""
    reference = anew_reference(walk.plan, candidate)
    timings: Mapping[str, Any] | None = walk.value_if_there(reference)
    return None if timings is None or "failed" in timings.get(candidate.id, {"failed": ""}) else timings


def anew_reference(plan: Plan, candidate: Candidate) -> str:
    """Return the "step.port" of the timings that judge a candidate; "" where there are none."""
    judging = candidate.judgement.rpartition(".")[0]
    sources = (step.inputs.get("timings", "") for step in plan.steps if step.id == judging)
    return next((source for source in sources if isinstance(source, str)), "")


def _sizes(walk: Walk, timings: str) -> dict[str, int]:
    """Return the bytes of every file that a step times."""
    timing = timings.rpartition(".")[0]
    sources = next((step.inputs.get("models", {}) for step in walk.plan.steps if step.id == timing), {})
    files = sources.items() if isinstance(sources, Mapping) else ()
    return {name: walk.artifacts[reference].size for name, reference in files if reference in walk.artifacts}


def _gain(measured: Measured, candidate: str, asked: Gain) -> Gain | None:
    """Fill in what a candidate gains where it is measured; None where it is not."""
    if asked.objective in _TIMED:
        return _timed(measured, candidate, asked)
    mine, theirs = (_figure(measured, name, asked.objective) for name in (candidate, asked.against))
    if not mine or not theirs:
        return None
    factor = theirs / mine
    verdict = "better" if factor > 1 + GAP else "worse" if factor < 1 / (1 + GAP) else "alike"
    return replace(asked, factor=factor, verdict=verdict)


def _timed(measured: Measured, candidate: str, asked: Gain) -> Gain | None:
    figures = (measured.timings.get(name, {}).get(str(measured.batch), {}) for name in (candidate, asked.against))
    mine, theirs = map(timed_runs, figures)
    compared = compare_runs(mine, theirs)
    if compared is None:
        return None
    lower, upper = compared.interval or (None, None)
    return replace(
        asked, factor=compared.ratio.estimate, verdict=compared.shown, lower=lower, upper=upper,
        clock=compared.clock, busy=compared.busy, anew=measured.anew,
    )  # fmt: skip


def _figure(measured: Measured, name: str, objective: str) -> float | None:
    if objective == "size":
        return measured.sizes.get(name)
    value: float | None = measured.timings.get(name, {}).get("peak_bytes") if objective == "peak_memory" else None
    return value

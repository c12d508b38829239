"""The end of a search by time, and the order in which candidates are made before it: the most promising first."""

import time
from collections.abc import Iterator, Mapping

from titrant.runtime.run.walk import StoppedError, needed
from titrant.schema.diagnostics.diagnostics import Diagnostic
from titrant.schema.plan import MENDING_STAGE, Candidate, CandidateSearch, Plan, Step
from titrant.schema.recipe.own_metric import is_own

# Objectives that follow from the seconds of a batch.
_TIMED = ("latency", "throughput")


class SearchEndedError(StoppedError):
    """A further candidate was not begun, because the time of the search is up: the run goes on with those made."""


class SearchEnd:
    """The end of a plan's search, counted from now on: no candidate of a method is begun after it.

    What was begun is made, and so are every plain conversion, with which all others are compared, and the gentlest
    candidate. A result that is there already costs no time and is taken. `search.budget.minutes` says when it comes; a
    plan without it has no end.
    """

    def __init__(self, plan: Plan) -> None:
        self._minutes = plan.search_minutes
        self._end = None if plan.search_minutes is None else time.monotonic() + 60 * plan.search_minutes
        self._methods = {candidate.id for candidate in plan.candidates if candidate.method != "none"}
        self._begun = gentlest(plan)

    def allow(self, step: Step) -> None:
        """Raise SearchEndedError when a step would begin a candidate after the end."""
        makes = step.stage in ("make", MENDING_STAGE)
        further = step.candidate in self._methods - self._begun or prepares_mending(step)
        if self._end is None or not makes or not further:
            return
        if time.monotonic() > self._end:
            what = step.candidate or step.id
            text = f"search.budget.minutes: {self._minutes:g} are over, and {what} was not begun"
            raise SearchEndedError(Diagnostic("X361", text, help="allow more minutes to have it tried too"))
        if step.candidate:
            self._begun.add(step.candidate)


def prepares_mending(step: Step) -> bool:
    """Whether a step serves several candidates that mend another, and comes before the first of them is begun."""
    return step.stage == MENDING_STAGE and not step.candidate


def gentlest(plan: Plan) -> set[str]:
    """Return each search's gentlest candidate: the one to fall back on, made however late it is."""
    ranks: Mapping[str, int] = {candidate.id: candidate.rank for candidate in plan.candidates}
    waiting = {candidate.id for candidate in plan.candidates if candidate.waits_for}
    made = ([name for name in search.candidates if name not in waiting] for search in plan.searches)
    return {min(names, key=lambda name: ranks[name]) for names in made if names}


def making_steps(plan: Plan) -> Iterator[Step]:
    """Yield the steps that make candidates: plain conversions first, then by what is expected of the others.

    Without a limit of time the order makes no difference, and is the plan's. What was learned from earlier runs on this
    machine counts here, as the predictions that stand in the plan; it decides nothing but what is made first.
    """
    if plan.search_minutes is None:
        yield from (step for step in plan.steps if step.stage == "make")
        return
    for candidate in making_order(plan):
        for reference in making_references(candidate):
            yield from needed(plan, reference, ("make",))


def making_references(candidate: Candidate) -> tuple[str, ...]:
    """Return the "step.port" of all that is made and measured of a candidate before its timing."""
    return tuple(ref for ref in (candidate.model, candidate.answers, candidate.executed, candidate.quality) if ref)


def making_order(plan: Plan) -> tuple[Candidate, ...]:
    """Order a plan's candidates by their best place in any search, plain conversions before all others."""
    places: dict[str, tuple[float, ...]] = {}
    candidates = {candidate.id: candidate for candidate in plan.candidates}
    for search in plan.searches:
        for name in search.candidates:
            place = _merit(plan, search, candidates[name])
            places[name] = min(place, places.get(name, place))
    made = [candidate for candidate in plan.candidates if not candidate.waits_for]
    return tuple(sorted(made, key=lambda candidate: places.get(candidate.id, (1.0, float(candidate.rank)))))


def _merit(plan: Plan, search: CandidateSearch, candidate: Candidate) -> tuple[float, ...]:
    plain = 0.0 if candidate.method == "none" else 1.0
    timing = next(step.prediction for step in plan.steps if step.id == search.timings.rpartition(".")[0])
    cost = timing.models.get(candidate.id)
    seconds = 0.0 if cost is None else cost.seconds.get(str(search.timing_batch), 0.0)
    by_name = {"quality": float(candidate.rank), **dict.fromkeys(_TIMED, seconds)}
    size = float(candidate.predicted_bytes or 0)
    gentle = float(candidate.rank)
    return (plain, *(gentle if is_own(name) else by_name.get(name, size) for name in search.objective), gentle)

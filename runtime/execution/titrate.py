"""Carry a plan through its stages: prepare, make candidates, time them, choose a shortlist, judge it in order."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from titrant.runtime.execution.figures import figures, limits, retention_asked, shown
from titrant.runtime.execution.search import Choice, Figures, shortlist
from titrant.runtime.execution.store import Store
from titrant.runtime.execution.walk import Walk, needed
from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.gate import Judgement
from titrant.schema.plan import Candidate, Plan, Search
from titrant.schema.record import CandidateRecord


class NoCandidateError(StepError):
    """A search has no candidate left."""


@dataclass
class Titration:
    """What became of every candidate."""

    rejected: dict[str, str] = field(default_factory=dict)  # candidate → why
    measured: dict[str, Figures] = field(default_factory=dict)
    choices: dict[str, tuple[Choice, ...]] = field(default_factory=dict)  # search → in the order of judging
    judgements: dict[str, Judgement] = field(default_factory=dict)  # candidate → as judged
    best: dict[str, str] = field(default_factory=dict)  # search → what it ended with
    released: dict[str, str] = field(default_factory=dict)  # search → candidate; empty unless every search found one

    @property
    def exit(self) -> int:
        """Return 0 when everything asked for is released, else 5."""
        return 0 if self.released else 5

    @property
    def verdict(self) -> str:
        """Return PASS, NOT PROVEN, FAIL or INCONCLUSIVE."""
        ended = [self.judgements[candidate] for candidate in self.best.values()]
        if self.released:
            return "PASS" if all(judgement.proven for judgement in ended) else "NOT PROVEN"
        return "FAIL" if any(judgement.verdict == "FAIL" for judgement in ended) else "INCONCLUSIVE"


def make(walk: Walk) -> None:
    """Settle the steps of stages prepare and make; failures of a candidate's chain are remembered, others raised."""
    for step in walk.plan.steps:
        if step.stage in ("prepare", "make"):
            walk.settle(step)


def give_up(walk: Walk, titration: Titration) -> None:
    """Reject the candidates whose chain did not come to its end.

    Raises NoCandidateError when a search has none left: the candidate's own error where there is only one.
    """
    for candidate in walk.plan.candidates:
        missing = [ref for ref in _parts(candidate) if ref not in walk.artifacts]
        if missing:
            titration.rejected[candidate.id] = walk.reason(missing[0].rpartition(".")[0])
            walk.tell("rejected", candidate=candidate.id, step=candidate.id, because=titration.rejected[candidate.id])
    for search in walk.plan.searches:
        if all(name in titration.rejected for name in search.candidates):
            raise _none_left(walk, search, titration)


def measure(walk: Walk) -> None:
    """Settle the joint timing."""
    for step in walk.plan.steps:
        if step.stage == "measure":
            walk.settle(step)


def choose(walk: Walk, store: Store, titration: Titration) -> None:
    """Fix every search's shortlist, before any evaluation row is read."""
    plan = walk.plan
    for search in plan.searches:
        timings = store.value(walk.artifacts[search.timings])
        found = []
        for candidate in _of(plan, search):
            if candidate.id not in titration.rejected:
                quality = store.value(walk.artifacts[candidate.quality])
                size = walk.artifacts[candidate.model].size
                found.append(figures(candidate, search, size, quality, timings))
        titration.measured |= {item.candidate: item for item in found}
        titration.choices[search.name] = shortlist(
            found, search.objective, limits(plan.contract), retention_asked(plan.contract), search.shortlist
        )


def judge(walk: Walk, store: Store, titration: Titration) -> bool:
    """Judge each shortlist from gentle to aggressive, up to the first candidate that does not keep the contract.

    After one that is released without proof no later one counts as proven: the sequence that would carry the proof
    has ended. Returns False when a step that is needed was not performed.
    """
    for search in walk.plan.searches:
        proven = True
        for candidate in _shortlisted(walk.plan, search, titration):
            if candidate.id not in titration.judgements:
                settled = [walk.settle(step) for step in needed(walk.plan, candidate.judgement, ("judge",))]
                if not all(settled):
                    return False
                titration.judgements[candidate.id] = _judgement(store.value(walk.artifacts[candidate.judgement]))
            judgement = titration.judgements[candidate.id]
            if not proven and judgement.proven:
                judgement = titration.judgements[candidate.id] = replace(judgement, proven=False)
            walk.tell("judged", candidate=candidate.id, verdict=judgement.verdict, released=judgement.released)
            if judgement.released or search.name not in titration.best:
                titration.best[search.name] = candidate.id
            if not judgement.released:
                break
            proven = judgement.proven
    if all(titration.judgements[candidate].released for candidate in titration.best.values()):
        titration.released = dict(titration.best)
    return True


def candidate_records(walk: Walk, titration: Titration) -> tuple[CandidateRecord, ...]:
    """Say of every candidate what became of it and why."""
    return tuple(_record(walk, titration, candidate) for candidate in walk.plan.candidates)


def _record(walk: Walk, titration: Titration, candidate: Candidate) -> CandidateRecord:
    name = candidate.id
    artifact = walk.artifacts.get(candidate.model)
    size = None if artifact is None else artifact.size
    if name in titration.rejected:
        return CandidateRecord(name, "rejected", titration.rejected[name], size)
    kept = shown(titration.measured[name])
    choice = next(choice for choices in titration.choices.values() for choice in choices if choice.candidate == name)
    if not choice.shortlisted:
        return CandidateRecord(name, "measured", choice.because, size, kept)
    judgement = titration.judgements.get(name)
    if judgement is None:
        because = "a gentler candidate did not keep the contract, and judging stopped there"
        return CandidateRecord(name, "shortlisted", because, size, kept)
    if name in titration.released.values():
        because = "the most aggressive candidate judged that keeps the contract"
        return CandidateRecord(name, "released", because, size, kept, judgement)
    return CandidateRecord(name, "judged", _why_not(name, judgement, titration), size, kept, judgement)


def _why_not(name: str, judgement: Judgement, titration: Titration) -> str:
    if not judgement.released:
        missed = [result.gate for result in judgement.results if result.verdict != "PASS"]
        return f"the contract is not kept: {', '.join(missed)}"
    if name in titration.best.values():
        return "it keeps the contract, but another format that was asked for has no candidate that does"
    return "it keeps the contract; a more aggressive candidate keeps it too"


def _none_left(walk: Walk, search: Search, titration: Titration) -> NoCandidateError:
    failed = [
        error
        for name in search.candidates
        for step in walk.plan.steps
        if step.candidate == name and (error := walk.errors.get(step.id)) is not None
    ]
    if len(search.candidates) == 1 and failed:
        return NoCandidateError(*failed[0].diagnostics)
    reasons = "; ".join(f"{name}: {titration.rejected[name]}" for name in search.candidates)
    return NoCandidateError(
        Diagnostic(
            "X330",
            f"none of the {len(search.candidates)} candidates could be made: {reasons}",
            help="mend what they have in common, or name another `quantization.method`",
        )
    )


def _parts(candidate: Candidate) -> tuple[str, ...]:
    return candidate.model, candidate.answers, candidate.quality


def _of(plan: Plan, search: Search) -> list[Candidate]:
    by_name = {candidate.id: candidate for candidate in plan.candidates}
    return [by_name[name] for name in search.candidates]


def _shortlisted(plan: Plan, search: Search, titration: Titration) -> list[Candidate]:
    by_name = {candidate.id: candidate for candidate in plan.candidates}
    return [by_name[choice.candidate] for choice in titration.choices[search.name] if choice.shortlisted]


def _judgement(value: Mapping[str, Any]) -> Judgement:
    found: Judgement = _adapter().validate_python(value)
    return found


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Judgement)

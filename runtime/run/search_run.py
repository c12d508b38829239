"""Carry a plan through its stages: prepare, make candidates, time them, choose a shortlist, judge it in order.

Where the contract has a baseline, the original itself is judged by it once, before any candidate is made.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from titrant.runtime.contract.verdict import blockers
from titrant.runtime.run.deadline import OutOfTimeError
from titrant.runtime.run.replay import judged, replayed
from titrant.runtime.run.search import Choice, Figures, figures, limits, retention_asked, shortlist, shown
from titrant.runtime.run.walk import Walk, needed, references
from titrant.runtime.store.artifacts import Store
from titrant.schema.diagnostics.diagnostics import CONTRACT_NOT_KEPT, OK, Diagnostic, StepError
from titrant.schema.gate import Contract, GateResult, Judgement
from titrant.schema.plan import Candidate, CandidateSearch, Plan, Step
from titrant.schema.record import CandidateRecord
from titrant.schema.values.canonical import read_back
from titrant.schema.values.frozen import dataclass

# The step is not in the plan: it is the first candidate's contract, asked of the original, with these gates only.
STEP = "original.contract"
PRESET = "baseline"
MISSED = "the original itself misses the contract's baseline"
_STOPPED = "a gentler candidate did not keep the contract: judging stopped there"
_OUT_OF_TIME = "the run's time was up before it was judged"


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
    unjudged: dict[str, str] = field(default_factory=dict)  # candidate → why judging it failed
    stopped: bool = False  # the run's time was up before everything was judged
    baseline: Judgement | None = None  # how the original answered the baseline, where the contract has one

    @property
    def missed(self) -> bool:
        """Tell whether the original itself missed its baseline, so that no candidate was made."""
        return self.baseline is not None and not self.baseline.released

    @property
    def exit(self) -> int:
        """Return 0 when everything asked for is released, else 5."""
        return OK if self.released else CONTRACT_NOT_KEPT

    @property
    def verdict(self) -> str:
        """Return PASS, NOT PROVEN, FAIL or INCONCLUSIVE."""
        if self.baseline is not None and self.missed:
            return "FAIL" if self.baseline.verdict == "FAIL" else "INCONCLUSIVE"
        ended = [self.judgements[candidate] for candidate in self.best.values() if candidate in self.judgements]
        if self.released:
            return "PASS" if all(judgement.proven for judgement in ended) else "NOT PROVEN"
        return "FAIL" if any(judgement.verdict == "FAIL" for judgement in ended) else "INCONCLUSIVE"


def prepare(walk: Walk, store: Store, titration: Titration) -> bool:
    """Settle what all candidates share, then judge the original by its own baseline, where the contract has one.

    No candidate is worth making where the original misses it. Returns False when a step was not performed.
    """
    settled = [walk.settle(step) for step in walk.plan.steps if step.stage == "prepare"]
    return all(settled) and _judge_original(walk, store, titration)


def make(walk: Walk) -> None:
    """Settle the steps of stage make; failures of a candidate's chain are remembered, others raised."""
    for step in walk.plan.steps:
        if step.stage == "make":
            walk.settle(step)


def give_up(walk: Walk, titration: Titration) -> None:
    """Reject the candidates whose chain did not come to its end.

    Raises NoCandidateError when a search has none left: the candidate's own error where there is only one.
    """
    for candidate in walk.plan.candidates:
        missing = [ref for ref in (candidate.model, candidate.answers, candidate.quality) if ref not in walk.artifacts]
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


def choose(
    walk: Walk, store: Store, titration: Titration, recorded: Mapping[str, tuple[str, ...]] | None = None
) -> None:
    """Fix every search's shortlist, before any evaluation row is read; who could not be timed is rejected.

    What is `recorded` for a search is judged in place of what its fresh measurements choose; where the two disagree an
    event says so. Raises NoCandidateError when a search has none left.
    """
    plan = walk.plan
    for search in plan.searches:
        timings = store.value(walk.artifacts[search.timings])
        _reject_untimed(walk, search, timings, titration)
        measured = []
        for candidate in _of(plan, search):
            if candidate.id not in titration.rejected:
                quality = store.value(walk.artifacts[candidate.quality])
                size = walk.artifacts[candidate.model].size
                measured.append(figures(candidate, search, size, quality, timings))
        titration.measured |= {item.candidate: item for item in measured}
        titration.choices[search.name] = shortlist(
            measured, search.objective, limits(plan.contract), retention_asked(plan.contract), search.shortlist
        )
        if recorded is not None and recorded.get(search.name):
            _replay(walk, titration, search, recorded[search.name])


def _replay(walk: Walk, titration: Titration, search: CandidateSearch, recorded: tuple[str, ...]) -> None:
    fresh = titration.choices[search.name]
    if set(judged(fresh)) != set(recorded):
        titration.choices[search.name] = replayed(fresh, walk.plan, recorded)
        text = f"fresh measurements would judge {', '.join(judged(fresh))}; as recorded: {', '.join(recorded)}"
        walk.tell("note", text=text, search=search.name, would_judge=list(judged(fresh)))


def judge(walk: Walk, store: Store, titration: Titration) -> bool:
    """Judge each shortlist from gentle to aggressive, up to the first candidate that does not keep the contract.

    After one that is released without proof no later one counts as proven: the sequence that would carry the proof has
    ended. When the run's time is up what was judged until then decides. Returns False when a step that is needed was
    not performed.
    """
    try:
        if not all(_judge_search(walk, store, titration, search) for search in walk.plan.searches):
            return False
    except OutOfTimeError as error:
        titration.stopped = True
        walk.tell("note", text=error.diagnostics[0].message)
    for search in walk.plan.searches:
        titration.best.setdefault(search.name, _shortlisted(walk.plan, search, titration)[0].id)
    ended = [titration.judgements.get(candidate) for candidate in titration.best.values()]
    if all(judgement is not None and judgement.released for judgement in ended):
        titration.released = dict(titration.best)
    return True


def _judge_original(walk: Walk, store: Store, titration: Titration) -> bool:
    reference = settle_baseline(walk)
    if reference:
        titration.baseline = _judgement(store.value(walk.artifacts[reference]))
        word = "misses" if titration.missed else "reaches"
        walk.tell("note", text=f"the original {word} the contract's baseline: {titration.baseline.verdict}")
    return reference is not None


def _judge_search(walk: Walk, store: Store, titration: Titration, search: CandidateSearch) -> bool:
    proven = True
    for candidate in _shortlisted(walk.plan, search, titration):
        if candidate.id not in titration.judgements:
            judged = _judge_candidate(walk, store, titration, candidate)
            if judged is None:
                return False
            titration.judgements[candidate.id] = judged
        judgement = titration.judgements[candidate.id]
        if not proven and judgement.proven:
            judgement = titration.judgements[candidate.id] = replace(judgement, proven=False)
        walk.tell("judged", candidate=candidate.id, verdict=judgement.verdict, released=judgement.released)
        if judgement.released or search.name not in titration.best:
            titration.best[search.name] = candidate.id
        if not judgement.released:
            break
        proven = judgement.proven
    return True


def _judge_candidate(walk: Walk, store: Store, titration: Titration, candidate: Candidate) -> Judgement | None:
    """Judge one candidate; INCONCLUSIVE when a step of its own fails, None when a step was not performed."""
    steps = needed(walk.plan, candidate.judgement, ("judge",))
    settled = [walk.settle(step) for step in steps]
    if all(settled):
        return _judgement(store.value(walk.artifacts[candidate.judgement]))
    failed = next((step.id for step in steps if step.id in walk.errors), None)
    if failed is None:
        return None
    if isinstance(error := walk.errors[failed], OutOfTimeError):
        raise error
    titration.unjudged[candidate.id] = f"{failed}: {walk.reason(failed)}"
    return unjudged(walk.plan.contract, candidate.id, titration.unjudged[candidate.id])


def unjudged(contract: Contract, candidate: str, reason: str) -> Judgement:
    """Return the judgement of a candidate that could not be judged: every gate is open, for the same reason."""
    nothing = (None,) * 5
    results = tuple(
        GateResult(gate.id, "INCONCLUSIVE", *nothing, 0, None, gate.needed_cases, reason, "not judged")
        for gate in contract.gates
    )
    return Judgement(candidate, "INCONCLUSIVE", False, False, results)


def candidate_records(walk: Walk, titration: Titration) -> tuple[CandidateRecord, ...]:
    """Say of every candidate what became of it and why."""
    return tuple(_record(walk, titration, candidate) for candidate in walk.plan.candidates)


def _record(walk: Walk, titration: Titration, candidate: Candidate) -> CandidateRecord:
    name = candidate.id
    if titration.missed:
        return CandidateRecord(name, "not made", MISSED)
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
        because = _OUT_OF_TIME if titration.stopped else _STOPPED
        return CandidateRecord(name, "shortlisted", because, size, kept)
    if name in titration.released.values():
        because = "the most aggressive candidate judged that keeps the contract"
        return CandidateRecord(name, "released", because, size, kept, judgement)
    return CandidateRecord(name, "judged", _why_not(walk.plan, judgement, titration), size, kept, judgement)


def _why_not(plan: Plan, judgement: Judgement, titration: Titration) -> str:
    name = judgement.candidate
    if name in titration.unjudged:
        return f"it could not be judged: {titration.unjudged[name]}"
    if not judgement.released:
        return f"the contract is not kept: {', '.join(blockers(plan.contract, judgement))}"
    if name in titration.best.values():
        return "it keeps the contract, but another format that was asked for has no candidate that does"
    return "it keeps the contract; a more aggressive candidate keeps it too"


def _reject_untimed(walk: Walk, search: CandidateSearch, timings: Mapping[str, Any], titration: Titration) -> None:
    for name in search.candidates:
        reason = timings.get(name, {}).get("failed")
        if reason is not None and name not in titration.rejected:
            titration.rejected[name] = f"it could not be timed: {reason}"
            walk.tell("rejected", candidate=name, step=name, because=titration.rejected[name])
    if all(name in titration.rejected for name in search.candidates):
        raise _none_left(walk, search, titration)


def _none_left(walk: Walk, search: CandidateSearch, titration: Titration) -> StepError:
    failed = [
        error
        for name in search.candidates
        for step in walk.plan.steps
        if step.candidate == name and (error := walk.errors.get(step.id)) is not None
    ]
    late = next((error for error in failed if isinstance(error, OutOfTimeError)), None)
    if late is not None:
        return late
    if len(search.candidates) == 1 and failed:
        return NoCandidateError(*failed[0].diagnostics)
    timed = search.timings in walk.artifacts
    reasons = "; ".join(
        f"{', '.join(name for name in search.candidates if titration.rejected[name] == reason)}: {reason}"
        for reason in dict.fromkeys(titration.rejected[name] for name in search.candidates)
    )
    return NoCandidateError(
        Diagnostic(
            "X330",
            f"none of the {len(search.candidates)} candidates could be made{' and timed' * timed}: {reasons}",
            help="mend what they have in common, or name another `quantization.method`",
        )
    )


def _of(plan: Plan, search: CandidateSearch) -> list[Candidate]:
    by_name = {candidate.id: candidate for candidate in plan.candidates}
    return [by_name[name] for name in search.candidates]


def _shortlisted(plan: Plan, search: CandidateSearch, titration: Titration) -> list[Candidate]:
    by_name = {candidate.id: candidate for candidate in plan.candidates}
    return [by_name[choice.candidate] for choice in titration.choices[search.name] if choice.shortlisted]


def _judgement(value: Mapping[str, Any]) -> Judgement:
    return read_back(Judgement, value)


def baseline_step(plan: Plan) -> Step | None:
    """Return the step that judges the original by its own gates; None where the contract has none."""
    if not any(gate.preset == PRESET for gate in plan.contract.gates) or not plan.candidates:
        return None
    contract = plan.candidates[0].judgement.rpartition(".")[0]
    step = next(step for step in plan.steps if step.id == contract)
    inputs = {name: source for name, source in step.inputs.items() if name != "timings"}
    inputs |= {"candidate": inputs["original"], "model": plan.original}
    return replace(
        step, id=STEP, params=_params(step), inputs=inputs, candidate="", because="the original answers for itself"
    )


def _params(step: Step) -> dict[str, Any]:
    own = [gate for gate in step.params["gates"] if gate["preset"] == PRESET]
    params = {**step.params, "candidate": "original", "gates": own}
    return params | ({"timing": ""} if "timing" in params else {})


def settle_baseline(walk: Walk) -> str | None:
    """Settle the baseline's step and what it needs; returns its judgement, "" if there is none to make.

    Returns None when a step was not performed; its failure is raised, since every candidate is compared with the
    original.
    """
    step = baseline_step(walk.plan)
    if step is None:
        return ""
    before = [other for reference in references(step) for other in needed(walk.plan, reference, ("judge",))]
    settled = [walk.settle(required) for required in (*before, step)]
    return f"{STEP}.judgement" if all(settled) else None

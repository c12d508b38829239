"""Walk a plan through its stages, whoever performs its steps: executing it and previewing it are this one walk.

Prepare what all share, judge the original by itself where the contract asks that, make the candidates, give up those
that could not be made, measure the others, choose a shortlist, judge it in order, report.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from titrant.runtime.contract.company import depends_sentence, read_invariance
from titrant.runtime.contract.release.waivers import ended_waivers, today, waived_gates, with_waivers
from titrant.runtime.contract.verdict import beyond, beyond_words, charged
from titrant.runtime.run.choice.figures import Figures, limits
from titrant.runtime.run.choice.shortlist import Choice, ruled_out, shortlist
from titrant.runtime.run.evaluation_looks import evaluation_rows, judged_by
from titrant.runtime.run.outcome import (
    Chosen,
    JudgedSearches,
    Outcome,
    judging_crash,
    judging_failure,
    missed_before,
    misses,
)
from titrant.runtime.run.record import report_value
from titrant.runtime.run.replay import Replay, replayed
from titrant.runtime.run.replay import judged as chosen_to_judge
from titrant.runtime.run.search import ask, grow, is_unasked, measured, mend, unanswered
from titrant.runtime.run.search_end import making_steps
from titrant.runtime.run.walk import StoppedError, UnperformedError, Walk, needed
from titrant.schema.contract.waivers import WaivedGate, ended_words, waiver_words
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.gate import NOT_JUDGED, Contract, GateResult, Judgement, asked_of_original, kept_at_least
from titrant.schema.plan import MENDING_STAGE, OBSERVING_STAGE, STAGES, Candidate, CandidateSearch
from titrant.schema.planned import Planned
from titrant.schema.record import Look
from titrant.schema.values.canonical import read_back


class NoCandidateError(StepError):
    """A search has no candidate left."""


def walk_through(walk: Walk, planned: Planned, replay: Replay) -> Outcome:
    """Walk a plan through all its stages, and return what became of its candidates.

    What a replay has recorded for a search is judged in place of what its fresh measurements choose. Raises
    UnperformedError as soon as what comes next needs a step that the performer only looked at, NoCandidateError when a
    search has none left, and the error of a step that everything rests on.
    """
    outcome = _titrate(walk, replay)
    _observe(walk, outcome)
    walk.provide("run.record", report_value(walk, outcome, planned))
    walk.settle_stage("report")
    return outcome


def _observe(walk: Walk, outcome: Outcome) -> None:
    """Settle the steps that look inside the original, and inside each candidate that a search ended with.

    What reductions keep by themselves is seen of each candidate that was judged. A step that fails is recorded and told
    of, and changes nothing of what was judged.
    """
    shown = {"", *outcome.judged.released.values(), *outcome.judged.best.values()}
    of_judged, of_others = set[str](), set[str]()
    for candidate in walk.plan.candidates:
        steps = (needed(walk.plan, reference, (OBSERVING_STAGE,)) for reference in candidate.reduced)
        about = of_judged if candidate.id in outcome.judged.judgements else of_others
        about.update(step.id for each in steps for step in each)
    for step in walk.plan.steps:
        asked = step.id in of_judged or (step.candidate in shown and step.id not in of_others)
        if step.stage != OBSERVING_STAGE or not asked or walk.settle(step):
            continue
        if step.id in walk.errors and not isinstance(walk.errors[step.id], StoppedError):
            walk.tell("note", text=f"{step.id} saw nothing: {walk.reason(step.id)}", step=step.id)
    _require_performed(walk, (OBSERVING_STAGE,))


def _titrate(walk: Walk, replay: Replay) -> Outcome:
    walk.settle_stage("prepare")
    _say_what_the_original_misses(walk)
    # Whether candidates can be reused is looked up even where the original cannot be judged yet.
    original = None if walk.unperformed else _judge_original(walk)
    if misses(original):
        return Outcome(original)
    for step in making_steps(walk.plan):
        walk.settle(step)
    walk.settle_stage("make")
    # Whether timings can be reused too is looked up where all that is timed is there.
    _require_performed(walk, ("prepare", "make"))
    untried = mend(walk, replay)
    untried |= grow(walk, replay)
    rejected = _give_up(walk, untried)
    for name in sorted(_not_to_time(walk, rejected, replay)):
        walk.leave_out(name)
    walk.settle_stage("measure")
    _require_performed(walk)
    chosen = replace(_choose(walk, rejected, replay.choices), untried=untried)
    look = _look(walk, chosen)
    day = (replay.judged_on or today()) if walk.plan.contract.waivers else ""
    judged = _judge(walk, replace(chosen, judged_on=day), look)
    return Outcome(original, replace(chosen, judged_on=day), judged, look, _waived(walk, judged, day))


def _waived(walk: Walk, judged: JudgedSearches, day: str) -> dict[str, tuple[WaivedGate, ...]]:
    """Return what waivers let through of each released candidate that has them to thank for it."""
    gates = {name: waived_gates(walk.plan.contract, judged.judgements[name], day) for name in judged.released.values()}
    return {name: waived for name, waived in gates.items() if waived}


def _require_performed(walk: Walk, stages: tuple[str, ...] = STAGES) -> None:
    """Raise UnperformedError where a step of some stages was only looked at."""
    left = [name for name, task in walk.unperformed.items() if task.step.stage in stages]
    if left:
        raise UnperformedError(", ".join(left))


def _judge_original(walk: Walk) -> Judgement | None:
    """Judge the original by itself; None where the contract does not ask that, or a step was only looked at.

    A failure is raised, since every candidate is compared with the original.
    """
    reference = walk.plan.original_judgement
    settled = [walk.settle(step) for step in needed(walk.plan, reference, ("judge",))]
    if not reference or not all(settled):
        return None
    original = _judgement(walk, reference)
    word = "misses" if misses(original) else "reaches"
    asked = asked_of_original(walk.plan.contract)
    walk.tell("note", text=f"the original {word} the contract's {asked}: {original.verdict}")
    return original


def _say_what_the_original_misses(walk: Walk) -> None:
    """Tell, before anything is made of it, what the original misses that every candidate is asked."""
    reference = walk.plan.original_limits
    if reference and reference in walk.artifacts:
        text = missed_before(walk.plan.contract, _judgement(walk, reference))
        if text:
            walk.tell("note", text=text)


def _give_up(walk: Walk, untried: Mapping[str, str]) -> dict[str, str]:
    """Say which candidates' chains did not come to their end, and why, after those that were not tried.

    Raises NoCandidateError when no search has any left: the candidate's own error where there is only one.
    """
    rejected = dict(untried)
    for candidate in walk.plan.candidates:
        if candidate.id in untried:
            continue
        parts = (candidate.model, candidate.answers, candidate.quality)
        missing = [ref for ref in parts if ref not in walk.artifacts]
        if missing:
            rejected[candidate.id] = walk.reason(missing[0].rpartition(".")[0])
            walk.tell("rejected", candidate=candidate.id, step=candidate.id, because=rejected[candidate.id])
    _without_candidates(walk, rejected)
    return rejected


def _without_candidates(walk: Walk, rejected: Mapping[str, str]) -> dict[str, str]:
    """Return the searches that have no candidate left, and why; raises NoCandidateError where none has one."""
    empty = [search for search in walk.plan.searches if all(name in rejected for name in search.candidates)]
    errors = {search.name: _none_left(walk, search, rejected) for search in empty}
    if errors and len(errors) == len(walk.plan.searches):
        raise next(iter(errors.values()))
    return {name: error.diagnostics[0].message for name, error in errors.items()}


def _choose(walk: Walk, rejected: Mapping[str, str], recorded: Mapping[str, tuple[str, ...]]) -> Chosen:
    """Fix every search's shortlist, before any evaluation row is read; who could not be timed is rejected."""
    of_candidates: dict[str, Figures] = {}
    choices: dict[str, tuple[Choice, ...]] = {}
    for search in walk.plan.searches:
        rejected = _without_untimed(walk, search, walk.value(search.timings), rejected)
    _without_candidates(walk, rejected)
    for search in walk.plan.searches:
        rejected, of_search, choices[search.name] = _chosen(walk, search, rejected, recorded.get(search.name, ()))
        of_candidates |= {item.candidate: item for item in of_search}
    unmade = _without_candidates(walk, rejected)
    for name, because in unmade.items():
        walk.tell("note", text=f"{name} is not released, and the run goes on: {because}", search=name)
    of_candidates = {name: item for name, item in of_candidates.items() if name not in rejected}
    _say_whose_answers_mix(walk, [candidate for candidate in walk.plan.candidates if candidate.id in of_candidates])
    for name, of_name in choices.items():
        for choice in of_name:
            word = "judge" if choice.shortlisted else "leave out"
            walk.tell("note", text=f"{word} {choice.candidate}: {choice.because}", search=name)
    return Chosen(rejected, of_candidates, choices, unmade)


def _chosen(
    walk: Walk, search: CandidateSearch, rejected: Mapping[str, str], recorded: tuple[str, ...]
) -> tuple[Mapping[str, str], tuple[Figures, ...], tuple[Choice, ...]]:
    """Choose what a search judges; whose answers do not hold goes, and what is left is chosen from anew.

    Where fresh measurements choose something else than what is recorded, an event says so and the recorded stands.
    """
    candidates = {candidate.id: candidate for candidate in walk.plan.candidates}
    timings, contract = walk.value(search.timings), walk.plan.contract
    asked_for = limits(contract), kept_at_least(contract), search.shortlist
    while True:
        left = [candidates[name] for name in search.candidates if name not in rejected]
        of_search = tuple(measured(walk, search, candidate, timings) for candidate in left)
        choices = shortlist(of_search, search.objective, *asked_for)
        would_judge, other = chosen_to_judge(choices), False
        if left and recorded and set(would_judge) != set(recorded):
            choices, other = replayed(choices, walk.plan, recorded), True
        unasked = [name for name in chosen_to_judge(choices) if is_unasked(walk, candidates[name])]
        for name in unasked:
            if because := ask(walk, candidates[name]):
                rejected = {**rejected, name: because}
                walk.tell("rejected", candidate=name, step=name, because=because)
        if not unasked:
            break
    if other:
        text = f"fresh measurements would judge {', '.join(would_judge)}; as recorded: {', '.join(recorded)}"
        walk.tell("note", text=text, search=search.name, would_judge=list(would_judge))
    return rejected, of_search, choices


def _not_to_time(walk: Walk, rejected: Mapping[str, str], replay: Replay) -> set[str]:
    """Return the candidates that no search can release whatever their speed, where it has others.

    Plain conversions are timed in any case, since others are compared with them, and so is what was judged before.
    """
    candidates = {candidate.id: candidate for candidate in walk.plan.candidates}
    contract = walk.plan.contract
    out, timed = set(), {name for names in replay.choices.values() for name in names}
    for search in walk.plan.searches:
        left = [candidates[name] for name in search.candidates if name not in rejected]
        of_search = [measured(walk, search, candidate, {}) for candidate in left]
        hopeless = ruled_out(of_search, limits(contract), kept_at_least(contract))
        if len(hopeless) == len(of_search):
            hopeless = {}
        out |= set(hopeless)
        timed |= {item.candidate for item in of_search if item.plain or item.candidate not in hopeless}
    return out - timed


def _say_whose_answers_mix(walk: Walk, measured: list[Candidate]) -> None:
    """Tell which candidates answer a case by who shares its batch."""
    for candidate in measured:
        seen = walk.value_if_there(candidate.invariance)
        if seen is not None and (invariance := read_invariance(seen)).depends:
            text = depends_sentence(f"answers of {candidate.id}", invariance)
            walk.tell("note", text=text, candidate=candidate.id)


def _without_untimed(
    walk: Walk, search: CandidateSearch, timings: Mapping[str, Any], rejected: Mapping[str, str]
) -> dict[str, str]:
    out = dict(rejected)
    aside = walk.set_aside.get(search.timings.rpartition(".")[0], {})
    for name in search.candidates:
        reason = aside.get(name) or timings.get(name, {}).get("failed")
        if reason is not None and name not in out:
            out[name] = f"it could not be timed: {reason}"
            walk.tell("rejected", candidate=name, step=name, because=out[name])
    return out


def _look(walk: Walk, chosen: Chosen) -> Look | None:
    """Say which look at the evaluation rows judging is, before they are read."""
    rows = evaluation_rows(walk)
    if rows is None:
        return None
    names = dict.fromkeys(name for search in walk.plan.searches for name in chosen.shortlist(search.name))
    look = walk.performer.look(rows, judged_by(walk, names))
    if beyond(walk.plan.contract, look):
        walk.tell("note", text=beyond_words(look, walk.plan.contract))
    return look


def _judge(walk: Walk, chosen: Chosen, look: Look | None) -> JudgedSearches:
    """Judge each shortlist from gentle to aggressive, up to the first candidate that does not keep the contract.

    One that ends the worker was not judged, so that the next one is: nothing was learned of the contract.
    After one that is released without proof no later one counts as proven: the sequence that would carry the proof has
    ended. When the performer stops what was judged until then decides.
    """
    judged = JudgedSearches()
    for search in walk.plan.searches:
        judged = _judge_search(walk, search, chosen, judged, look)
        if judged.stopped:
            break
    listed = {search.name: chosen.shortlist(search.name) for search in walk.plan.searches}
    gentlest = {name: candidates[0] for name, candidates in listed.items() if candidates}
    return replace(judged, best=gentlest | dict(judged.best))


def _judge_search(
    walk: Walk, search: CandidateSearch, chosen: Chosen, judged: JudgedSearches, look: Look | None
) -> JudgedSearches:
    candidates = {candidate.id: candidate for candidate in walk.plan.candidates}
    proven = True
    for name in chosen.shortlist(search.name):
        try:
            judgement = judged.judgements.get(name) or charged(
                walk.plan.contract, _judge_candidate(walk, candidates[name]), look
            )
        except StoppedError as error:
            walk.tell("note", text=error.diagnostics[0].message)
            return replace(judged, stopped=error.unjudged)
        if not proven:
            judgement = replace(judgement, proven=False)
        first = search.name not in judged.released
        judgement = with_waivers(walk.plan.contract, judgement, chosen.judged_on) if first else judgement
        waived = bool(waived_gates(walk.plan.contract, judgement, chosen.judged_on))
        if waived and not first:
            break  # another search took it under a waiver; here a gentler one needs none
        walk.tell("judged", candidate=name, verdict=judgement.verdict, released=judgement.released)
        _say_what_is_waived(walk, judgement, chosen.judged_on)
        if crash := judging_crash(walk, candidates[name]):
            walk.tell("note", text=f"{name} could not be judged: {crash}; the next candidate is", candidate=name)
            judged = judged.with_unjudged(judgement)
            continue
        judged = judged.adding(search.name, judgement)
        if waived or not judgement.released:
            break  # a waiver lets the gentlest candidate through, and nothing that may lose more
        proven = judgement.proven
    return judged


def _say_what_is_waived(walk: Walk, judgement: Judgement, day: str) -> None:
    """Tell which gates of a candidate waivers let through, and which of those that block a waiver no longer covers."""
    contract, name = walk.plan.contract, judgement.candidate
    for gate in waived_gates(contract, judgement, day):
        words = f"{name} is released although {gate.gate} answers {gate.verdict}: {waiver_words(gate)}"
        walk.tell("note", text=words, candidate=name, waived=gate.gate)
    for waiver in ended_waivers(contract, judgement, day):
        walk.tell("note", text=f"{waiver.gate} blocks {name} again: {ended_words(waiver)}", candidate=name)


def _judge_candidate(walk: Walk, candidate: Candidate) -> Judgement:
    """Judge one candidate; INCONCLUSIVE when a step of its own fails."""
    if stopped := unanswered(walk, candidate):
        raise stopped
    steps = needed(walk.plan, candidate.judgement, ("judge",))
    settled = [walk.settle(step) for step in steps]
    if all(settled):
        return _judgement(walk, candidate.judgement)
    failed = next((walk.errors[step.id] for step in steps if step.id in walk.errors), None)
    if failed is None:
        raise UnperformedError(candidate.judgement)
    if isinstance(failed, StoppedError):
        raise failed
    return _unjudged(walk.plan.contract, candidate.id, judging_failure(walk, candidate))


def _unjudged(contract: Contract, candidate: str, reason: str) -> Judgement:
    """Return the judgement of a candidate that could not be judged: every gate is open, for the same reason."""
    nothing = (None,) * 5
    results = tuple(
        GateResult(gate.id, "INCONCLUSIVE", *nothing, 0, None, gate.needed_cases, reason, NOT_JUDGED)
        for gate in contract.gates
    )
    return Judgement(candidate, "INCONCLUSIVE", False, False, results)


def _none_left(walk: Walk, search: CandidateSearch, rejected: Mapping[str, str]) -> StepError:
    parts = [
        part
        for candidate in walk.plan.candidates
        if candidate.id in search.candidates
        for part in (candidate.model, candidate.answers, candidate.quality, candidate.repeats, candidate.invariance)
        if part
    ]
    making = {step.id: step for part in parts for step in needed(walk.plan, part, ("make", MENDING_STAGE, "judge"))}
    failed = [error for name in making if (error := walk.errors.get(name)) is not None]
    stopped = next((error for error in failed if isinstance(error, StoppedError)), None)
    if stopped is not None:
        return stopped
    if len(search.candidates) == 1 and failed:
        return NoCandidateError(*failed[0].diagnostics)
    timed = search.timings in walk.artifacts
    reasons = "; ".join(
        f"{', '.join(name for name in search.candidates if rejected[name] == reason)}: {reason}"
        for reason in dict.fromkeys(rejected[name] for name in search.candidates)
    )
    return NoCandidateError(
        Diagnostic(
            "X330",
            f"none of the {len(search.candidates)} candidates could be made{' and timed' * timed}: {reasons}",
            help="mend what they have in common, or name another `quantization.method`",
        )
    )


def _judgement(walk: Walk, reference: str) -> Judgement:
    return read_back(Judgement, walk.value(reference))

"""Try what waits for tuning rows: what mends a candidate that loses too much, and networks smaller than one that keeps.

Repairs come in turn, then mixtures of precisions; stages of a reduction one after the other. All of it stands in the
plan, and runs only where what was measured asks for it. Whatever is made so is judged like any other. Whether a
candidate answers the same twice, and in any company, is asked of those that are worth judging.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from titrant.runtime.run.choice.figures import Figures, figures, harmed, lost_on_tuning, tuning_quality
from titrant.runtime.run.replay import Replay
from titrant.runtime.run.search_end import making_references
from titrant.runtime.run.walk import StoppedError, UnperformedError, Walk, needed
from titrant.schema.plan import MENDING_STAGE, Candidate, CandidateSearch
from titrant.schema.record import layers_of, share_as_planned
from titrant.schema.values.units import counted


def questions(candidate: Candidate) -> tuple[str, ...]:
    """Return the "step.port" of what asks whether it answers the same twice, and in any company."""
    return tuple(ref for ref in (candidate.repeats, candidate.invariance) if ref)


def is_unasked(walk: Walk, candidate: Candidate) -> bool:
    """Tell whether it is still to be seen if a candidate's answers hold."""
    return unanswered(walk, candidate) is None and any(ref not in walk.artifacts for ref in questions(candidate))


def ask(walk: Walk, candidate: Candidate) -> str:
    """Ask a candidate that is worth judging whether its answers hold; returns why they do not, "" where they do.

    Also "" where the run ends before: then it is not judged either. Raises UnperformedError where that was only looked
    at.
    """
    for reference in questions(candidate):
        name = reference.rpartition(".")[0]
        for step in needed(walk.plan, reference, ("judge",), walk.records):
            walk.settle(step)
            if step.id in walk.unperformed:
                raise UnperformedError(step.id)
        if reference not in walk.artifacts:
            return "" if unanswered(walk, candidate) else walk.reason(name)
    return ""


def unanswered(walk: Walk, candidate: Candidate) -> StoppedError | None:
    """Return what kept a candidate from being asked whether its answers hold: the end of the run; else None."""
    errors = (walk.errors.get(reference.rpartition(".")[0]) for reference in questions(candidate))
    return next((error for error in errors if isinstance(error, StoppedError)), None)


def measured(walk: Walk, search: CandidateSearch, candidate: Candidate, timings: Mapping[str, Any]) -> Figures:
    """Gather what is known of a candidate; `timings` may be empty."""
    quality, invariance = walk.value(candidate.quality), walk.value_if_there(candidate.invariance)
    size = walk.artifacts[candidate.model].size
    of_candidate = figures(candidate, search, size, quality, timings, invariance=invariance)
    as_planned = share_as_planned(layers_of(walk.value_if_there(candidate.executed)))
    tuning = replace(of_candidate.tuning, as_planned=as_planned)
    # A mixture was searched for on these rows: what it was seen to miss is not explained by chance.
    harms = harmed(walk.plan.contract, tuning, beyond_chance=not candidate.allocation)
    return replace(of_candidate, tuning=tuning, harms=harms)


def mend(walk: Walk, replay: Replay) -> dict[str, str]:
    """Make what mends those candidates that need it, and return which of the others was not tried, and why.

    Where a run is replayed that searched, what it tried is tried, with the layers that its mixtures left alone.
    Raises UnperformedError as soon as what comes next needs a step that the performer only looked at.
    """
    untried: dict[str, str] = {}
    for base in walk.plan.candidates:
        mending = [candidate for candidate in walk.plan.candidates if candidate.mends == base.id]
        if mending:
            untried |= _mend(walk, base, mending, replay)
    return untried


def _mend(walk: Walk, base: Candidate, mending: Sequence[Candidate], replay: Replay) -> dict[str, str]:
    if replay.tried is not None:
        asked = [candidate for candidate in mending if candidate.id in replay.tried]
        for candidate in asked:
            _make(walk, candidate, replay)
        return {each.id: "the recorded run did not try it" for each in mending if each not in asked}
    if base.quality not in walk.artifacts:
        return {candidate.id: f"{base.id} could not be made" for candidate in mending}
    lost = _lost(walk, base)
    if not lost:
        return {candidate.id: f"{base.id} loses too little on tuning rows to be mended" for candidate in mending}
    walk.tell("note", text=f"{base.id} is to be mended: {lost}", candidate=base.id)
    return dict(_in_turn(walk, base, mending, replay))


def _in_turn(walk: Walk, base: Candidate, mending: Sequence[Candidate], replay: Replay) -> Iterator[tuple[str, str]]:
    """Make one after the other; yields those that are not tried any more, and why.

    A repair that keeps what is asked ends it. A mixture does not: the next may be faster. One that cannot be made, or
    is the same file as one before it, costs no evaluation.
    """
    room, reason = walk.plan.mended_at_most, ""
    files = {walk.artifacts[base.model].digest: base.id}
    for candidate in mending:
        if not reason and not room:
            reason = f"no evaluation is left to mend {base.id}, after {counted(walk.plan.mended_at_most, 'evaluation')}"
        if reason:
            yield candidate.id, reason
            continue
        reason = _ended(walk, candidate, replay)
        if reason:
            yield candidate.id, reason
            continue
        same = _make(walk, candidate, replay, files)
        if same:
            walk.leave_out(candidate.id)  # its runs would be the other's, timed twice
            yield candidate.id, f"it is the same file as {same}"
        elif candidate.quality in walk.artifacts:
            room -= 1
            if not candidate.allocation and not _lost(walk, candidate):
                reason = f"{candidate.id} loses no more than is asked"
        elif candidate.allocation and candidate.allocation not in walk.artifacts:
            reason = walk.reason(candidate.allocation.rpartition(".")[0])


def _ended(walk: Walk, candidate: Candidate, replay: Replay) -> str:
    """Say why no further mixture is worth making; "" where this one is, and for what is none."""
    if not candidate.allocation or candidate.id in replay.left:
        return ""
    _settle(walk, candidate.allocation)
    allocation = walk.value_if_there(candidate.allocation) or {}
    return str(allocation.get("ended", ""))


def _lost(walk: Walk, candidate: Candidate) -> str:
    return lost_on_tuning(walk.plan.contract, tuning_quality(walk.value(candidate.quality)))


def _make(walk: Walk, candidate: Candidate, replay: Replay, files: dict[str, str] | None = None) -> str:
    """Make a candidate and measure it on tuning rows; returns whose file it is, where one before it has the same.

    `files` are digest → candidate of those before it, and receive this one's.
    """
    if candidate.id in replay.left:
        step, port = candidate.allocation.rpartition(".")[::2]
        allocating = next(each for each in walk.plan.steps if each.id == step)
        walk.settle_as_recorded(allocating, port, {"leave": list(replay.left[candidate.id])})
    _settle(walk, candidate.model)
    made = walk.artifacts.get(candidate.model)
    if made is not None and files is not None:
        same = files.setdefault(made.digest, candidate.id)
        if same != candidate.id:
            return same
    settle_candidate(walk, candidate)
    return ""


def settle_candidate(walk: Walk, candidate: Candidate) -> None:
    """Make a candidate that waited for another, and measure it on tuning rows."""
    for reference in making_references(candidate):
        _settle(walk, reference)


def _settle(walk: Walk, reference: str) -> None:
    for step in needed(walk.plan, reference, (MENDING_STAGE,), walk.records):
        walk.settle(step)
        if step.id in walk.unperformed:
            raise UnperformedError(step.id)


def grow(walk: Walk, replay: Replay) -> dict[str, str]:
    """Make the smaller networks that are asked for, and return which of the others was not tried, and why.

    Where a run is replayed, what it tried is tried. Raises UnperformedError as soon as what comes next needs a step
    that the performer only looked at.
    """
    return dict(_grow(walk, replay))


def _grow(walk: Walk, replay: Replay) -> Iterator[tuple[str, str]]:
    candidates = {candidate.id: candidate for candidate in walk.plan.candidates}
    ended: dict[str, str] = {}
    for candidate in candidates.values():
        if not candidate.grows:
            continue
        if replay.tried is not None:
            reason = "" if candidate.id in replay.tried else "the recorded run did not try it"
        else:
            reason = ended.get(candidate.grows) or _against(walk, candidates, candidates[candidate.grows])
        if reason:
            ended[candidate.id] = reason
            yield candidate.id, reason
            continue
        settle_candidate(walk, candidate)


def _against(walk: Walk, candidates: Mapping[str, Candidate], before: Candidate) -> str:
    """Say why nothing goes on from a candidate; "" where it keeps enough, by itself or by what mended it.

    A stage that could not be made says nothing of what a network bears: a share may be less than the smallest part that
    can go. What comes after it goes on from what is before it.
    """
    mending = [each for each in walk.plan.candidates if each.mends == before.id]
    made = [each for each in (before, *mending) if each.quality in walk.artifacts]
    if not made and before.grows:
        return _against(walk, candidates, candidates[before.grows])
    if not made:
        return f"{before.id} could not be made"
    lost = [lost_on_tuning(walk.plan.contract, tuning_quality(walk.value(each.quality))) for each in made]
    return f"{before.id} loses too much on tuning rows: {lost[0]}" if all(lost) else ""

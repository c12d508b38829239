"""Try smaller networks one stage after the other, as long as the one before keeps on tuning rows what is asked.

All of it stands in the plan, and runs only where what was measured asks for it. Each is judged like any other.
"""

from collections.abc import Iterator

from titrant.runtime.run.choice.figures import lost_on_tuning, tuning_quality
from titrant.runtime.run.mend import settle_candidate
from titrant.runtime.run.replay import Replay
from titrant.runtime.run.walk import Walk
from titrant.schema.plan import Candidate


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
            reason = ended.get(candidate.grows) or _against(walk, candidates[candidate.grows])
        if reason:
            ended[candidate.id] = reason
            yield candidate.id, reason
            continue
        settle_candidate(walk, candidate)


def _against(walk: Walk, before: Candidate) -> str:
    """Say why nothing goes on from a candidate; "" where it keeps enough, by itself or by what mended it."""
    mending = [each for each in walk.plan.candidates if each.mends == before.id]
    made = [each for each in (before, *mending) if each.quality in walk.artifacts]
    if not made:
        return f"{before.id} could not be made"
    lost = [lost_on_tuning(walk.plan.contract, tuning_quality(walk.value(each.quality))) for each in made]
    return f"{before.id} loses too much on tuning rows: {lost[0]}" if all(lost) else ""

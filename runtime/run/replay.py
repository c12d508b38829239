"""How a run differs from a plain one: what it may reuse, which choices are given to it, and who must accept it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from titrant.runtime.run.choice.shortlist import Choice
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.plan import Plan
from titrant.schema.record import NOT_TRIED, Look, RunRecord
from titrant.schema.values.frozen import dataclass

# What happened to a candidate that was worth judging.
_SHORTLISTED = ("released", "judged", "shortlisted")


@dataclass(frozen=True)
class JudgedThen:
    """When a repeated run judged: its look at evaluation rows, and the day (ISO 8601) at which it read waivers."""

    look: Look | None = None
    day: str = ""


@dataclass(frozen=True)
class Replay:
    """A plain run unless more is said.

    Without `reuse` every step runs, and no result is looked up or kept. `choices` are the candidates to judge, by
    search, in place of what fresh measurements choose; with them `tried` names the candidates that mended others, and
    `left` the layers that each mixture left in higher precision. `accept` is shown the record before anything is
    released, and may raise. `judging` is when and how often was looked, of a run that is repeated.
    """

    reuse: bool = True
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tried: tuple[str, ...] | None = None
    left: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    accept: Callable[[RunRecord], None] | None = None
    judging: JudgedThen = JudgedThen()

    @property
    def look(self) -> Look | None:
        """The look at evaluation rows that is repeated."""
        return self.judging.look

    @property
    def judged_on(self) -> str:
        """The day at which waivers were read then; "": they are read today."""
        return self.judging.day

    @property
    def chooses(self) -> bool:
        """Whether judging is a look at evaluation rows of its own: a rerun of recorded choices learns nothing new."""
        return self.reuse or not self.choices


def recorded_search(plan: Plan, record: RunRecord) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return which candidates a run tried that waited for others, and the layers that each mixture left alone."""
    waiting = {candidate.id for candidate in plan.candidates if candidate.waits_for}
    made = [each for each in record.candidates if each.candidate in waiting and each.status != NOT_TRIED]
    return tuple(each.candidate for each in made), {each.candidate: each.left for each in made if each.left}


def recorded_choices(plan: Plan, record: RunRecord) -> dict[str, tuple[str, ...]]:
    """Return what each search of a run chose to judge; the order of judging follows from the plan."""
    status = {candidate.candidate: candidate.status for candidate in record.candidates}
    return {
        search.name: tuple(name for name in search.candidates if status.get(name) in _SHORTLISTED)
        for search in plan.searches
    }


def judged(choices: Sequence[Choice]) -> tuple[str, ...]:
    """Return what choices would have judged, in their order."""
    return tuple(choice.candidate for choice in choices if choice.shortlisted)


def replayed(fresh: Sequence[Choice], plan: Plan, recorded: Sequence[str]) -> tuple[Choice, ...]:
    """Choose what was chosen before, from gentle to aggressive, of the candidates that fresh choices are about.

    Raises StepError X331 when none of them is left.
    """
    order = {candidate.id: (candidate.rank, place) for place, candidate in enumerate(plan.candidates)}
    names = sorted((choice.candidate for choice in fresh), key=lambda name: order[name])
    kept = tuple(Choice(name, True, "judged as recorded") for name in names if name in recorded)
    if not kept:
        raise StepError(
            Diagnostic(
                "X331",
                f"none of the candidates that were judged could be made and timed again: {', '.join(recorded)}",
                help="choose anew from what can be made here: titrant rerun RUN --redecide",
            )
        )
    return (*kept, *(Choice(name, False, "left out as recorded") for name in names if name not in recorded))

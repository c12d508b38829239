"""What each step on the way to a reduced candidate gave and cost, file by file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from titrant.runtime.report.candidates import Shown
from titrant.runtime.report.record_view import NONE, Record, fraction
from titrant.schema.gain_parts import Halfway, halfway
from titrant.schema.plan import MENDING_STAGE, CandidateSearch, Plan
from titrant.schema.values.units import format_size, format_time

_MAKING = ("make", MENDING_STAGE)


@dataclass(frozen=True)
class AblationRow:
    """One file on the way: what it adds to the one before, what that kept, gave and took.

    `kept` is the share of the original's quality on tuning rows, `beside` that of the fine-tuned original's. `took` is
    the wall time of the steps that the files before it did not need.
    """

    name: str
    adds: str
    kept: str
    beside: str
    latency: str
    size: str
    took: str


def ablation(
    record: Record, search: CandidateSearch, lead: Shown, candidates: Mapping[str, Shown]
) -> tuple[AblationRow, ...]:
    """Lay the way to a candidate out, from the plain conversion; () where no network was reduced for it."""
    way = _way(record.plan, lead, candidates)
    return tuple(_rows(record, search, way)) if way else ()


def _way(plan: Plan, lead: Shown, candidates: Mapping[str, Shown]) -> list[tuple[Shown, str]]:
    """Return the candidates on the way, each with what it adds; [] where nothing reduces the lead."""
    between = halfway(plan, lead.planned)
    if lead.planned.grows:
        way, shown = [], lead
        while shown.planned.grows:
            way.append((shown, _added(shown)))
            shown = candidates[shown.planned.grows]
        return [(shown, shown.planned.method), *reversed(way)]
    if between is None:
        return []
    return [(candidates[between.candidate], _reduced(between)), (lead, lead.planned.method)]


def _added(shown: Shown) -> str:
    return shown.id.rpartition("+")[0]


def _reduced(between: Halfway) -> str:
    return between.candidate.partition("+")[0]


def _rows(record: Record, search: CandidateSearch, way: Sequence[tuple[Shown, str]]) -> Iterator[AblationRow]:
    plain = record.values.timings.get(way[0][0].planned.plain or "original")
    timing = None if plain is None else plain.batches.get(search.timing_batch)
    p50 = NONE if timing is None else format_time(timing.p50)
    yield AblationRow(way[0][0].planned.plain or "original", "", fraction(1.0), NONE, p50, NONE, NONE)
    done: set[str] = set()
    for shown, adds in way:
        steps = making(record.plan, shown.planned.model)
        quality, timed = shown.quality, shown.timing(search.timing_batch)
        yield AblationRow(
            name=shown.id,
            adds=adds,
            kept=fraction(None if quality is None else quality.retention),
            beside=fraction(None if quality is None else quality.fine_tuned),
            latency=NONE if timed is None else format_time(timed.p50),
            size=NONE if shown.record.size is None else format_size(shown.record.size),
            took=_took(record, steps - done),
        )
        done |= steps


def making(plan: Plan, reference: str) -> set[str]:
    """Return the steps that make a file of the original."""
    steps, waiting, needed = {step.id: step for step in plan.steps}, [reference], set[str]()
    while waiting:
        step = steps.get(waiting.pop().rpartition(".")[0])
        if step is not None and step.id not in needed and step.stage in _MAKING:
            needed.add(step.id)
            for source in step.inputs.values():
                waiting += [source] if isinstance(source, str) else source.values()
    return needed


def _took(record: Record, steps: set[str]) -> str:
    seconds = [done.result.seconds for done in record.run.steps if done.step in steps and done.result is not None]
    return format_time(sum(seconds)) if seconds else NONE

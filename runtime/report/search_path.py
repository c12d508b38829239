"""The path of a search: what was tried to mend a candidate, beside predictions, and what reduced one step by step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from titrant.runtime.report.candidates import Shown, outcome
from titrant.runtime.report.gain_rows import beside
from titrant.runtime.report.record_view import NONE, Record, fraction
from titrant.runtime.report.search_values import Proposal
from titrant.schema.gain_parts import Halfway, halfway
from titrant.schema.gate import kept_at_least
from titrant.schema.plan import MENDING_STAGE, ONLY_TRAINED, ROUNDED, CandidateSearch, Plan
from titrant.schema.record import NOT_TRIED
from titrant.schema.values.units import counted, format_size, format_time

FP32, UNIFORM, REPAIRED = "in fp32", "uniform", "repaired"
_MAKING = ("make", MENDING_STAGE)


@dataclass(frozen=True)
class PathPoint:
    """One candidate of a search: what it kept on tuning rows, and seconds of a batch; None where it is not known.

    `predicted_seconds` and `damage` are what the allocation expected of a mixture: its speed over fp32, in the seconds
    that the plain conversion took here, since prices and timings are of other moments and clocks.
    """

    id: str
    kind: str
    kept: float | None
    lower: float | None
    seconds: float | None
    predicted_seconds: float | None
    damage: float | None
    said: str
    tone: str
    because: str
    released: bool = False


@dataclass(frozen=True)
class SearchPath:
    """What was tried to mend `base`, which `asked` is to keep; the frontier is (seconds, damage) as predicted."""

    base: str
    asked: float | None
    points: tuple[PathPoint, ...]
    frontier: tuple[tuple[float, float], ...] = ()
    gap: str = ""

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Return a line for each: candidate, what it is, kept, at least, latency, predicted, outcome, why."""
        return tuple(
            (
                point.id,
                point.kind,
                NONE if point.kept is None else f"{point.kept:.4f}",
                NONE if point.lower is None else f"{point.lower:.4f}",
                NONE if point.seconds is None else format_time(point.seconds),
                NONE if point.predicted_seconds is None else format_time(point.predicted_seconds),
                point.said,
                point.because,
            )
            for point in self.points
        )

    @property
    def numbered(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the lines with each point's number in the picture, "" for one that is not drawn."""
        numbers, drawn = [], 0
        for point in self.points:
            seen = point.kept is not None and point.seconds is not None
            drawn += seen
            numbers.append(str(drawn) if seen else "")
        return tuple(zip(numbers, self.rows, strict=True))

    @property
    def predicted(self) -> tuple[tuple[str, str], ...]:
        """Return the frontier in words: latency and damage, from the fastest."""
        return tuple((format_time(seconds), f"{damage:.3g}") for seconds, damage in self.frontier)


def search_paths(record: Record, candidates: Mapping[str, Shown]) -> tuple[SearchPath, ...]:
    """Return a path for each candidate that was to be mended; nothing of one that lost too little."""
    return tuple(_paths(record, candidates))


def _paths(record: Record, candidates: Mapping[str, Shown]) -> Iterator[SearchPath]:
    for base in record.plan.candidates:
        mending = [candidates[each.id] for each in record.plan.candidates if each.mends == base.id]
        if all(each.record.status == NOT_TRIED for each in mending):
            continue
        batch = next((search.timing_batch for search in record.plan.searches if base.id in search.candidates), 1)
        proposals = [record.values.proposals[each.id] for each in mending if each.id in record.values.proposals]
        plain = tuple(_plain(record, base.plain, batch))
        fp32 = plain[0].seconds if plain else None
        points = (*plain, *(_point(record, each, batch, fp32) for each in (candidates[base.id], *mending)))
        frontier = proposals[0].frontier if proposals else ()
        yield SearchPath(
            base=base.id,
            asked=kept_at_least(record.plan.contract),
            points=points,
            frontier=tuple((mix.seconds * _scale(proposals[0], fp32), mix.damage) for mix in frontier),
            gap=_gap(points),
        )


def _plain(record: Record, name: str, batch: int) -> Iterator[PathPoint]:
    """Yield the plain conversion that all of them are compared with, which loses nothing."""
    timings = record.values.timings.get(name)
    timing = None if timings is None else timings.batches.get(batch)
    if timing is not None:
        because = "what all others are compared with"
        yield PathPoint(name, FP32, 1.0, None, timing.p50, None, None, "", "plain", because)


def _scale(proposal: Proposal, fp32: float | None) -> float:
    """Return by what predicted seconds are multiplied, where the plain conversion took `fp32` seconds; 1 for None."""
    priced = proposal.predicted["seconds"] * proposal.predicted["speedup_over_fp32"]
    return 1.0 if fp32 is None or not priced else fp32 / priced


def _point(record: Record, shown: Shown, batch: int, fp32: float | None) -> PathPoint:
    timing, quality = shown.timing(batch), shown.quality
    proposal = record.values.proposals.get(shown.id)
    symbol, words, tone = outcome(shown)
    return PathPoint(
        id=shown.id,
        kind=_kind(shown, len(proposal.int8) if proposal else 0, len(proposal.leave) if proposal else 0),
        kept=None if quality is None else quality.retention if quality.retention is not None else quality.agreement,
        lower=None if quality is None else quality.lower,
        seconds=None if timing is None else timing.p50,
        predicted_seconds=None if proposal is None else proposal.predicted["seconds"] * _scale(proposal, fp32),
        damage=None if proposal is None else proposal.predicted["damage"],
        said=f"{symbol} {words}",
        tone=tone,
        because=shown.record.because,
        released=shown.released,
    )


def _kind(shown: Shown, int8: int, left: int) -> str:
    if not shown.planned.mends:
        return UNIFORM
    if not shown.planned.allocation:
        return REPAIRED
    return f"mixture: {int8} of {counted(int8 + left, 'region')} in int8" if int8 or left else "mixture"


def _gap(points: Sequence[PathPoint]) -> str:
    """Say how far predictions of latency were off; "" where none was measured."""
    off = [
        abs(point.seconds / point.predicted_seconds - 1)
        for point in points
        if point.seconds is not None and point.predicted_seconds
    ]
    if not off:
        return ""
    return f"Latency of {counted(len(off), 'mixture')} as predicted within {max(off):.0%}"


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
    """Lay the way to a candidate out, from the plain conversion; () where no network was reduced or trained for it."""
    way = _way(record.plan, lead, candidates)
    if not way:
        return ()
    plain = way[0][0].planned.plain or "original"
    return (_plain_row(record, search, plain, candidates), *_ablation_rows(record, search, way))


def _plain_row(record: Record, search: CandidateSearch, name: str, candidates: Mapping[str, Shown]) -> AblationRow:
    """Return the row of the plain conversion: as it was measured where it competes, else as the original's answers."""
    shown, plain = candidates.get(name), record.values.timings.get(name)
    timing = None if plain is None else plain.batches.get(search.timing_batch)
    quality = None if shown is None else shown.quality
    sizes = {other: size for other, _, size in beside(record, search)}
    size = sizes.get(name) if shown is None else shown.record.size
    return AblationRow(
        name=name,
        adds="",
        kept=fraction(1.0 if quality is None else quality.retention),
        beside=NONE,
        latency=NONE if timing is None else format_time(timing.p50),
        size=NONE if size is None else format_size(size),
        took=NONE,
    )


def _way(plan: Plan, lead: Shown, candidates: Mapping[str, Shown]) -> list[tuple[Shown, str]]:
    """Return the candidates on the way, each with what it adds; [] where nothing reduces the lead."""
    between = halfway(plan, lead.planned)
    if lead.planned.grows:
        way, shown = [], lead
        while shown.planned.grows:
            if shown is lead or shown.quality is not None:  # a stage that could not be made is none of the way
                way.append((shown, _added(shown)))
            shown = candidates[shown.planned.grows]
        return [(shown, shown.planned.method), *reversed(way)]
    reduced = [] if between is None else [(candidates[between.candidate], _reduced(between))]
    trained = _trained(lead, candidates)
    return [*reduced, *(trained or [(lead, lead.planned.method)])] if reduced or trained else []


def _trained(lead: Shown, candidates: Mapping[str, Shown]) -> list[tuple[Shown, str]]:
    """Return a calibrated file, the same after a training, and after one that imitated int8; [] without the last."""
    base = lead.id.removesuffix(ONLY_TRAINED).removesuffix(ROUNDED)
    adds = {base: lead.planned.method, base + ONLY_TRAINED: "train.fit", base + ROUNDED: "train.quantization_aware"}
    made = {name: shown for name in adds if (shown := candidates.get(name)) is not None and shown.quality is not None}
    return [(shown, adds[name]) for name, shown in made.items()] if base + ROUNDED in made else []


def _added(shown: Shown) -> str:
    return shown.id.rpartition("+")[0]


def _reduced(between: Halfway) -> str:
    return between.candidate.partition("+")[0]


def _ablation_rows(record: Record, search: CandidateSearch, way: Sequence[tuple[Shown, str]]) -> Iterator[AblationRow]:
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

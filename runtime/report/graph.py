"""Lay the step graph out: time runs downwards and every candidate has a column.

What leads to the models stands in the middle above them; what compares and judges them stands at the left. Rows come
from list scheduling over the plan's order; stages (prepare, make, measure, judge, report) never overlap, so each is a
band of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from titrant.schema.plan import Plan, Step

STAGES = ("prepare", "make", "measure", "judge", "report")


@dataclass(frozen=True)
class Box:
    """One step in the picture: `lane` 0 is shared, 1 … are the candidates; a `wide` box spans every lane.

    `place` is the horizontal centre as a fraction of the picture's width, for shared steps of a band in which no
    candidate has one; None: the middle of the lane.
    """

    step: Step
    row: int
    lane: int
    wide: bool = False
    place: float | None = None


@dataclass(frozen=True)
class Band:
    """The rows of one stage, first and last included."""

    stage: str
    first: int
    last: int


@dataclass(frozen=True)
class Graph:
    """A laid out step graph; `edges` are (from, to) step ids, without those that a longer way already implies."""

    lanes: tuple[str, ...]
    boxes: tuple[Box, ...]
    bands: tuple[Band, ...]
    edges: tuple[tuple[str, str], ...]


def producers(step: Step) -> tuple[str, ...]:
    """Return the ids of the steps that a step reads from."""
    ports = [port for port in step.inputs.values() if isinstance(port, str)]
    ports += [port for many in step.inputs.values() if isinstance(many, Mapping) for port in many.values()]
    return tuple(sorted({port.rpartition(".")[0] for port in ports}))


def lay_out(plan: Plan) -> Graph:
    """Place every step of a plan and choose the edges to draw."""
    lanes = ("", *(candidate.id for candidate in sorted(plan.candidates, key=lambda candidate: candidate.rank)))
    sources = {step.id: producers(step) for step in plan.steps}
    makers = _ancestors([candidate.model.rpartition(".")[0] for candidate in plan.candidates], sources)
    boxes: list[Box] = []
    bands: list[Band] = []
    for stage in (*STAGES, *sorted({step.stage for step in plan.steps} - set(STAGES))):
        steps = [step for step in plan.steps if step.stage == stage]
        if steps:
            first = bands[-1].last + 1 if bands else 0
            placed = _band(steps, sources, lanes, makers, first)
            boxes += placed
            bands.append(Band(stage, first, max(box.row for box in placed)))
    return Graph(lanes, tuple(boxes), tuple(bands), _edges(sources))


def _ancestors(steps: list[str], sources: Mapping[str, tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    left = list(steps)
    while left:
        step = left.pop()
        if step not in found:
            found.add(step)
            left += sources.get(step, ())
    return found


def _band(
    steps: list[Step], sources: Mapping[str, tuple[str, ...]], lanes: tuple[str, ...], makers: set[str], first: int
) -> list[Box]:
    """Place the steps of one stage: -1 stands for the middle of a band that has no candidate's step."""
    shared = not any(step.candidate for step in steps)
    rows: dict[str, tuple[int, int]] = {}
    taken: set[tuple[int, int]] = set()
    for step in steps:
        # A file that several candidates share is the one that its step is named after.
        home = step.candidate or step.id
        lane = lanes.index(home) if home in lanes else 0
        middle = shared and (step.id in makers or step.stage != "prepare")
        lane = -1 if middle else lane
        row = max((rows[source][0] + 1 for source in sources[step.id] if source in rows), default=first)
        while not middle and (row, lane) in taken:
            row += 1
        rows[step.id] = (row, lane)
        taken.add((row, lane))
    return [_box(step, rows) for step in steps]


def _box(step: Step, rows: Mapping[str, tuple[int, int]]) -> Box:
    row, lane = rows[step.id]
    if lane >= 0:
        return Box(step, row, lane)
    beside = [other for other, place in rows.items() if place == (row, -1)]
    if len(beside) == 1 and step.stage == "measure":
        return Box(step, row, 0, wide=True)
    return Box(step, row, 0, place=(beside.index(step.id) + 1) / (len(beside) + 1))


def _edges(sources: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, str], ...]:
    """Drop each edge whose two ends are also joined by a longer way (transitive reduction)."""
    before: dict[str, set[str]] = {}
    for step in sources:  # the plan's order: producers come first
        direct = [source for source in sources[step] if source in before]
        before[step] = set(direct).union(*(before[source] for source in direct))
    kept = []
    for step, given in sources.items():
        implied = {far for source in given for far in before.get(source, set())}
        kept += [(source, step) for source in given if source in before and source not in implied]
    return tuple(kept)

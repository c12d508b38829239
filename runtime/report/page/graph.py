"""Lay out the step graph and draw it as inline SVG: time runs downwards and every candidate has a column.

What leads to the models stands in the middle above them; what compares and judges them stands at the left. Rows come
from list scheduling over the plan's order; stages (prepare, make, measure, judge, report) never overlap, so each is a
band of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import escape

from titrant.runtime.report.steps import StepRow
from titrant.schema.plan import STAGES, Plan, Step


@dataclass(frozen=True)
class Box:
    """One step in the picture: `lane` 0 is shared, 1 … are the candidates; a `wide` box spans every lane.

    `place` is the horizontal center as a fraction of the picture's width, for shared steps of a band in which no
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
    reached: set[str] = set()
    left = list(steps)
    while left:
        step = left.pop()
        if step not in reached:
            reached.add(step)
            left += sources.get(step, ())
    return reached


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


LANE, ROW = 132, 58
BOX_WIDTH, BOX_HEIGHT = 120, 40
LEFT, TOP = 72, 34  # for the names of the stages and of the candidates
GAP = 14  # between two stages
BEND = 9  # half the gap between two rows of boxes


@dataclass(frozen=True)
class Sheet:
    """Where things stand on the picture."""

    graph: Graph
    width: float
    height: float

    def y(self, row: int) -> float:
        """Return the upper edge of a row's boxes."""
        stages = sum(band.first <= row for band in self.graph.bands) - 1
        return TOP + row * ROW + stages * GAP + (ROW - BOX_HEIGHT) / 2

    def frame(self, box: Box) -> tuple[float, float, float]:
        """Return a box's left edge, upper edge and width."""
        lanes = self.width - LEFT
        if box.wide:
            return LEFT + (LANE - BOX_WIDTH) / 2, self.y(box.row), lanes - (LANE - BOX_WIDTH)
        center = LEFT + (lanes * box.place if box.place is not None else LANE * (box.lane + 0.5))
        return center - BOX_WIDTH / 2, self.y(box.row), BOX_WIDTH


def graph_svg(graph: Graph, rows: Mapping[str, StepRow], tones: Mapping[str, str]) -> str:
    """Draw a graph; `rows` gives each step's status, `tones` the tone of each candidate's column."""
    last = graph.bands[-1].last if graph.bands else 0
    width = LEFT + LANE * max(len(graph.lanes), 2)
    sheet = Sheet(graph, width, TOP + (last + 1) * ROW + (len(graph.bands) - 1) * GAP + 4)
    parts = [
        f'<svg class="graph" viewBox="0 0 {sheet.width:.0f} {sheet.height:.0f}" width="{sheet.width:.0f}" '
        f'height="{sheet.height:.0f}" role="img" aria-label="the steps and what each one reads from">'
    ]
    parts += [_draw_band(sheet, index) for index in range(len(graph.bands))]
    parts += [_lane(index, name, tones.get(name, "plain")) for index, name in enumerate(graph.lanes) if name]
    frames = {box.step.id: sheet.frame(box) for box in graph.boxes}
    parts += [_edge(frames[source], frames[target]) for source, target in graph.edges]
    parts += [_draw_box(box, frames[box.step.id], rows[box.step.id]) for box in graph.boxes]
    return "".join(parts) + "</svg>"


def _draw_band(sheet: Sheet, index: int) -> str:
    band = sheet.graph.bands[index]
    top = sheet.y(band.first) - (ROW - BOX_HEIGHT) / 2
    height = (band.last - band.first + 1) * ROW
    return (
        f'<rect class="band" x="0" y="{top:.0f}" width="{sheet.width:.0f}" height="{height:.0f}" rx="6"/>'
        f'<text class="stage" x="10" y="{top + height / 2 + 4:.0f}">{escape(band.stage)}</text>'
    )


def _lane(index: int, name: str, tone: str) -> str:
    x = LEFT + LANE * (index + 0.5)
    return f'<text class="lane {tone}" x="{x:.0f}" y="20">{escape(_fit(name, 18))}<title>{escape(name)}</title></text>'


def _edge(source: tuple[float, float, float], target: tuple[float, float, float]) -> str:
    """Draw an edge along the gaps between rows: sideways at once towards the left column, else as late as can be."""
    y1, y2 = source[1] + BOX_HEIGHT, target[1]
    x1, x2 = source[0] + source[2] / 2, target[0] + target[2] / 2
    # A wide box takes and gives its edges straight above and below the narrow one.
    if source[2] > BOX_WIDTH:
        x1 = x2
    elif target[2] > BOX_WIDTH:
        x2 = x1
    if abs(x1 - x2) < 1:
        return f'<path class="edge" d="M{x1:.0f} {y1:.0f}V{y2:.0f}"/>'
    turn = y1 + BEND if x2 < LEFT + LANE and x2 < x1 else y2 - BEND
    side = min(BEND, abs(x2 - x1) / 2) * (1 if x2 > x1 else -1)
    return (
        f'<path class="edge" d="M{x1:.0f} {y1:.0f}V{turn - BEND + 1:.0f}Q{x1:.0f} {turn:.0f} {x1 + side:.0f} {turn:.0f}'
        f'H{x2 - side:.0f}Q{x2:.0f} {turn:.0f} {x2:.0f} {turn + BEND - 1:.0f}V{y2:.0f}"/>'
    )


def _draw_box(box: Box, frame: tuple[float, float, float], row: StepRow) -> str:
    x, y, width = frame
    name = box.step.operator.rpartition(":")[2]
    family, _, verb = name.rpartition(".")
    actual = row.seconds.actual if row.seconds.actual != "–" else ""
    tip = ": ".join(part for part in (box.step.id, row.status, box.step.because) if part)
    middle = x + width / 2
    return (
        f'<g class="step {row.tone}"><title>{escape(tip)}</title>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BOX_HEIGHT}" rx="5"/>'
        f'<text class="verb" x="{middle:.1f}" y="{y + 17:.1f}">{escape(_fit(verb.replace("_", " "), 17))}</text>'
        f'<text class="family" x="{middle:.1f}" y="{y + 31:.1f}">{escape(_fit(family, 9))} '
        f"{row.symbol} {escape(actual)}</text></g>"
    )


def _fit(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

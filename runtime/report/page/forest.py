"""Forest plots of a judged candidate: one metric, asked alike, side by side over all cases, classes and subgroups."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from titrant.runtime.charts.svg import Scale, scale
from titrant.runtime.report.candidates import Shown
from titrant.runtime.report.contract import symbol_of, tone_of
from titrant.runtime.report.main_metric import is_less_better
from titrant.runtime.report.record_view import NONE, Record, gate_slice, quantity
from titrant.schema.gate import Gate, GateResult, slice_of, threshold_words


@dataclass(frozen=True)
class ForestRow:
    """One slice: its figures in words, and its picture on the axis that all rows share."""

    slice: str
    symbol: str
    verdict: str
    tone: str
    cases: str
    estimate: str
    bounds: str
    picture: Markup


@dataclass(frozen=True)
class Forest:
    """One metric over slices; `axis` is a picture of the axis, and `words` says which way is better."""

    title: str
    words: str
    axis: Markup
    rows: tuple[ForestRow, ...]


def forests(record: Record, candidate: Shown) -> tuple[Forest, ...]:
    """Gather the gates that ask one thing of several slices; none where each is asked of one slice only.

    What compares two subgroups is no slice of its own, and what is not shown has no place on an axis.
    """
    gates = {gate.id: gate for gate in record.plan.contract.gates}
    alike: dict[tuple[str, str, str], list[tuple[Gate, GateResult]]] = {}
    for result in candidate.judgement.results if candidate.judgement else ():
        gate = gates.get(result.gate)
        if gate is not None and result.estimate is not None and slice_of(gate).other is None and not gate.of_original:
            alike.setdefault((gate.comparison, gate.metric, gate.unit), []).append((gate, result))
    return tuple(_forest(pairs) for pairs in alike.values() if len({gate.slice for gate, _ in pairs}) > 1)


_WIDTH, _HEIGHT, _EDGE = 260.0, 26.0, 8.0
_COMPARED = {
    "retention": "{} kept, as a share of the original’s",
    "drop_at_most": "fall of {} against the original",
    "rise_at_most": "rise of {} against the original",
}


def _forest(pairs: Sequence[tuple[Gate, GateResult]]) -> Forest:
    first = pairs[0][0]
    values = [value for gate, result in pairs for value in _values(gate, result)]
    along = scale(values, _EDGE, _WIDTH - _EDGE, log=False, margin=0.02)
    largest = max((result.cases or 0 for _, result in pairs), default=0)
    title = _COMPARED.get(first.comparison, "{}").format(first.metric.replace("_", " "))
    small = first.comparison in ("at_most", "drop_at_most", "rise_at_most") or (
        first.comparison != "retention" and is_less_better(first)
    )
    better = "left" if small else "right"
    words = (
        f"Each line is the estimate with its one-sided bounds, the square as large as there are cases, the dashed line "
        f"what is asked. Further {better} is better."
    )
    axis = Markup("".join(_axis(along, first.unit)))
    rows = tuple(_row(gate, result, along, largest) for gate, result in pairs)
    return Forest(title[:1].upper() + title[1:], words, axis, rows)


def _values(gate: Gate, result: GateResult) -> Iterator[float]:
    yield gate.threshold
    for value in (result.estimate, result.lower, result.upper):
        if value is not None:
            yield value


def _row(gate: Gate, result: GateResult, along: Scale, largest: int) -> ForestRow:
    bounds = [quantity(value, gate.unit, gate.threshold) for value in (result.lower, result.upper)]
    written = " to ".join(bounds) if result.lower is not None and result.upper is not None else NONE
    return ForestRow(
        slice=gate_slice(gate),
        symbol=symbol_of(result.verdict),
        verdict=result.verdict,
        tone=tone_of(result.verdict),
        cases=NONE if result.cases is None else f"{result.cases:,}",
        estimate=quantity(result.estimate, gate.unit, gate.threshold),
        bounds=written,
        picture=Markup("".join(_picture(gate, result, along, largest))),
    )


def _picture(gate: Gate, result: GateResult, along: Scale, largest: int) -> Iterator[str]:
    middle = _HEIGHT / 2
    estimate = result.estimate if result.estimate is not None else gate.threshold
    label = f"{gate_slice(gate)}: {quantity(estimate, gate.unit)}, asked {threshold_words(gate)}"
    yield (
        f'<svg class="forest {tone_of(result.verdict)}" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
        f'aria-label="{escape(label)}">'
    )
    asked = along.at(gate.threshold)
    yield f'<line class="asked" x1="{asked:.1f}" y1="0" x2="{asked:.1f}" y2="{_HEIGHT:.0f}"/>'
    if result.lower is not None and result.upper is not None:
        low, high = along.at(result.lower), along.at(result.upper)
        yield f'<line class="bounds" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>'
        for x in (low, high):
            yield f'<line class="cap" x1="{x:.1f}" y1="{middle - 4}" x2="{x:.1f}" y2="{middle + 4}"/>'
    side = 5 + 7 * ((result.cases or 0) / largest) ** 0.5 if largest else 7.0
    corner = f'x="{along.at(estimate) - side / 2:.1f}" y="{middle - side / 2:.1f}"'
    yield f'<rect class="estimate" {corner} width="{side:.1f}" height="{side:.1f}"/></svg>'


def _axis(along: Scale, unit: str) -> Iterator[str]:
    yield f'<svg class="forest" viewBox="0 0 {_WIDTH:.0f} 16" aria-hidden="true">'
    for tick in along.ticks(5):
        words = quantity(tick, unit) if unit else f"{tick:g}"
        yield f'<text class="tick" x="{along.at(tick):.1f}" y="11">{escape(words)}</text>'
    yield "</svg>"

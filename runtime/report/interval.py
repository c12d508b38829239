"""Draw a gate's estimate and bounds against its threshold, as a small inline SVG.

Right is always better: the axis is turned round for a gate where small is good. The threshold stands at the same place
in every picture, so that one look down the column shows which intervals cross it.
"""

from markupsafe import escape

from titrant.runtime.report.words import SMALLER_IS_BETTER, quantity
from titrant.schema.gate import Gate, GateResult

WIDTH, HEIGHT = 160, 34
MIDDLE = 14  # of the interval, from above
THRESHOLD = 56  # where the threshold stands, from the left
EDGE = 8


def interval_svg(gate: Gate, result: GateResult) -> str:
    """Draw one gate; the empty text where there is nothing to draw."""
    if result.estimate is None:
        return ""
    better = -1.0 if gate.comparison in SMALLER_IS_BETTER else 1.0
    points = [result.estimate if value is None else value for value in (result.lower, result.estimate, result.upper)]
    offsets = sorted(better * (value - gate.threshold) for value in points)
    scale = _scale(offsets)
    low, high = (THRESHOLD + scale * offset for offset in (offsets[0], offsets[-1]))
    estimate = THRESHOLD + scale * better * (result.estimate - gate.threshold)
    parts = [
        f'<svg class="interval {result.verdict.lower()}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-label="{escape(_label(gate, result))}">',
        f'<rect class="beyond" x="0" y="2" width="{THRESHOLD}" height="24"/>',
        f'<line class="axis" x1="0" y1="{MIDDLE}" x2="{WIDTH}" y2="{MIDDLE}"/>',
        f'<line class="threshold" x1="{THRESHOLD}" y1="0" x2="{THRESHOLD}" y2="27"/>',
    ]
    if high - low > 0.5:
        parts.append(f'<line class="bounds" x1="{low:.1f}" y1="{MIDDLE}" x2="{high:.1f}" y2="{MIDDLE}"/>')
        parts += [_cap(low, result.lower if better > 0 else result.upper)]
        parts += [_cap(high, result.upper if better > 0 else result.lower)]
    parts.append(f'<circle class="estimate" cx="{estimate:.1f}" cy="{MIDDLE}" r="4"/>')
    parts.append(f'<text x="{THRESHOLD}" y="{HEIGHT - 0.5}">{escape(_limit(gate))}</text></svg>')
    return "".join(parts)


def _scale(offsets: list[float]) -> float:
    """Return pixels a unit, so that the farthest point on either side still fits."""
    left, right = THRESHOLD - EDGE, WIDTH - THRESHOLD - EDGE
    fits = [left / -offsets[0]] if offsets[0] < 0 else []
    fits += [right / offsets[-1]] if offsets[-1] > 0 else []
    return min(fits, default=0.0)


def _cap(x: float, value: float | None) -> str:
    if value is None:
        return ""
    return f'<line class="cap" x1="{x:.1f}" y1="{MIDDLE - 5}" x2="{x:.1f}" y2="{MIDDLE + 5}"/>'


def _limit(gate: Gate) -> str:
    return f"{gate.threshold:g}" if gate.unit == "" else quantity(gate.threshold, gate.unit)


def _label(gate: Gate, result: GateResult) -> str:
    shown = [quantity(value, gate.unit, gate.threshold) for value in (result.lower, result.estimate, result.upper)]
    return f"estimate {shown[1]}, bounds {shown[0]} to {shown[2]}, threshold {_limit(gate)}"

"""Charts of what a run found out: the learning-rate finder, what each region does, and how well models predict."""

from markupsafe import escape

from titrant.runtime.charts.series import Curve, lines_over
from titrant.runtime.charts.svg import (
    Frame,
    Scale,
    across,
    line,
    picture,
    plain_number,
    polyline,
    scale,
    shortened,
    text,
    upwards,
)
from titrant.runtime.contract.statistics.reliability import Reliability, ReliabilityBin
from titrant.runtime.report.record_view import RateSweep
from titrant.runtime.report.search_values import Sensitivity


def sweep_picture(sweep: RateSweep, name: str = "sweep") -> str:
    """Draw the loss over the learning rates of a finder; the rate that was taken is marked by a line."""
    taken = "" if sweep.chosen is None else f"dashed: {sweep.chosen:.3g} was taken"
    chart = Curve("Learning-rate finder: smoothed loss", {}, "learning rate", sweep.chosen, taken)
    return lines_over(chart, {"loss": list(zip(sweep.rates, sweep.loss, strict=False))}, name, log=True)


_ROW = 17.0
_MOST_REGION = 26


def bars(title: str, sensitivity: Sensitivity, name: str = "sensitivity") -> str:
    """Draw a bar for each region, in the order of computing; a tick is the same on all tuning rows, dashed is all."""
    checked = sensitivity.check.regions if sensitivity.check else {}
    regions = sensitivity.regions
    figures = [region.kl for region in regions] + [sensitivity.whole, *checked.values()]
    least = min((figure for figure in figures if figure > 0), default=1.0) / 3
    frame = Frame(460, 30 + 46 + _ROW * len(regions), left=168, top=30)
    along = scale(
        [least, *(figure for figure in figures if figure > 0)], frame.left, frame.wall - 6, log=True, margin=0.02
    )
    parts = [text(4, 14, title, "title", "start")]
    parts += across(frame, along, lambda value: f"{value:.2g}", "damage alone (dashed: all at once)", along.ticks(5))
    for place, region in enumerate(regions):
        y = frame.top + place * _ROW
        length = along.at(max(region.kl, least)) - frame.left
        parts.append(f'<g class="bar-row"><title>{escape(f"{region.name}: {region.kl:.3g}")}</title>')
        parts.append(text(frame.left - 6, y + 12, shortened(region.name, _MOST_REGION), "tick", "end"))
        parts.append(
            f'<rect class="bar-fill" x="{frame.left}" y="{y + 2:.1f}" width="{length:.1f}" height="{_ROW - 5}"/>'
        )
        if region.name in checked:
            x = along.at(max(checked[region.name], least))
            parts.append(line("check", x, y + 1, x, y + _ROW - 2))
        parts.append("</g>")
    whole = along.at(max(sensitivity.whole, least))
    parts.append(line("asked", whole, frame.top - 4, whole, frame.floor))
    words = "; ".join(f"{region.name} {region.kl:.3g}" for region in regions)
    return picture(name, frame, f"Damage to the answers of {title}, one bar a region", words, parts)


_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def reliability_svg(value: Reliability, candidate: str, name: str) -> str:
    """Draw both models: the original dashed with squares, the candidate with circles as large as there are cases."""
    frame = Frame(400, 360, left=46, top=34, right=16)
    along = Scale(0, 1, frame.left, frame.wall)
    up = Scale(0, 1, frame.floor, frame.top)
    parts = [text(4, 14, f"{candidate}: observed share", "title", "start"), *upwards(frame, up, plain_number, 5)]
    parts += across(frame, along, plain_number, f"probability predicted of {value.event}", _TICKS)
    parts.append(line("diagonal", along.at(0), up.at(0), along.at(1), up.at(1)))
    sides = (("original", value.original, "reference"), (candidate, value.candidate, "chosen"))
    for title, bins, role in sides:
        places = [(along.at(each.predicted), up.at(each.observed)) for each in bins]
        marks = "".join(
            _mark(title, each, place, square=role == "reference") for each, place in zip(bins, places, strict=True)
        )
        parts.append(f'<g class="series {role}">{polyline("path", places)}{marks}</g>')
    parts.append(text(frame.left + 8, frame.top + 10, "▫ dashed: the original", "label", "start"))
    parts.append(text(frame.left + 8, frame.top + 25, "● the candidate", "label", "start"))
    words = "; ".join(f"{title}: {_words(bins)}" for title, bins, _ in sides)
    return picture(name, frame, f"Reliability of {candidate} and the original", words, parts)


def _mark(title: str, each: ReliabilityBin, place: tuple[float, float], *, square: bool) -> str:
    x, y = place
    words = f"{title}: {each.predicted:.3f} predicted, {each.observed:.3f} came, {each.cases:,} cases"
    tip = f"<title>{escape(words)}</title>"
    if square:
        return f'<rect class="hollow" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8">{tip}</rect>'
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4">{tip}</circle>'


def _words(bins: tuple[ReliabilityBin, ...]) -> str:
    return ", ".join(f"{each.predicted:.2f} predicted and {each.observed:.2f} came" for each in bins)

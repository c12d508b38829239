"""Draw layers below the limits that a machine was measured to have: how fast each computes, and what holds it back."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import escape

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.svg import Frame, Scale, across, line, picture, scale, shortened, spread, text, upwards
from titrant.runtime.instruments.layers.layer import LayerFigures, short_number
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import Bench, GpuSpeed
from titrant.schema.values.units import format_time

_SIZE = (680.0, 380.0)
# Layers that are named in the picture: those that take longest.
_MOST_NAMED, _MOST_NAME = 8, 26
_APART = 12.0  # of two lines of text
_HALF = ("fp16", "bf16")
_INTEGER = ("int8", "int4")


@dataclass(frozen=True)
class RooflinePoint:
    """A layer: FLOPs a byte that it must move, FLOP/s that it reaches, and the limit of its precision there.

    `bound` says which limit is the lower one: "memory" or "arithmetic".
    """

    name: str
    intensity: float
    flops_per_second: float
    limit: float
    bound: str
    precision: str
    share: float
    words: str


@dataclass(frozen=True)
class MachineLimits:
    """FLOP/s by precision family, fp32 first, and bytes a second, all measured or published for one device."""

    ceilings: Mapping[str, float]
    bytes_per_second: float

    def ceiling(self, precision: str) -> float:
        """Return the FLOP/s that a precision may reach: that of fp32 where its own is not known."""
        family = "half" if precision in _HALF else "int8" if precision in _INTEGER else "fp32"
        return self.ceilings.get(family, self.ceilings["fp32"])


def machine_limits(bench: Bench | None, device: str) -> MachineLimits:
    """Return the limits of the processor, or of an accelerator; RecipeError X710 where they were not measured."""
    if device == "cpu":
        figures = {} if bench is None else {"fp32": bench.fp32_flops_per_second, "int8": bench.int8_flops_per_second}
        memory = None if bench is None else bench.memory_bytes_per_second
    else:
        speed = (bench.gpus.get(device if ":" in device else f"{device}:0") if bench else None) or GpuSpeed()
        figures = {"fp32": speed.fp32_flops_per_second, "half": speed.half_flops_per_second}
        memory = speed.memory_bytes_per_second
    ceilings = {name: number for name, number in figures.items() if number}
    if "fp32" not in ceilings or not memory:
        message = f"nothing says how fast {'this machine' if device == 'cpu' else device} computes and reads memory"
        advice = "measure it with `titrant hardware --bench`, then hand over titrant.detect(home).bench"
        raise RecipeError(Diagnostic("X710", message, help=advice))
    return MachineLimits(ceilings, memory)


def roofline_points(layers: Sequence[LayerFigures], limits: MachineLimits) -> tuple[RooflinePoint, ...]:
    """Return the layers that multiply, of which the bytes they must move are known, the longest first."""
    points = []
    for layer in sorted(layers, key=lambda layer: -layer.share):
        seconds, intensity = layer.time, layer.intensity
        if intensity is None or not layer.flops or seconds <= 0:
            continue
        memory, ceiling = intensity * limits.bytes_per_second, limits.ceiling(layer.precision)
        reached, limit = layer.flops / seconds, min(memory, ceiling)
        bound = "memory" if memory < ceiling else "arithmetic"
        words = (
            f"{short_number(reached)}FLOP/s, {reached / limit:.0%} of what {bound} allows at {intensity:.3g} FLOPs a "
            f"byte; {format_time(seconds)}, runs as {layer.precision}"
        )
        points.append(RooflinePoint(layer.label, intensity, reached, limit, bound, layer.precision, layer.share, words))
    return tuple(points)


def roofline_picture(layers: Sequence[LayerFigures], subject: str, limits: MachineLimits, name: str) -> ChartPicture:
    """Draw each layer as a point, as large as its share of the time, below memory's slope and the ceilings.

    Bytes are the least that a layer must move, so that a point lies at the right of where it really computes, never at
    the left. One that lies over a limit has its numbers in the caches. `subject` says of what, as "Net in torch".
    RecipeError X712 where no layer multiplies.
    """
    points = roofline_points(layers, limits)
    if not points:
        message = f"no layer of {subject} multiplies, or none of which FLOPs and bytes are known"
        raise RecipeError(Diagnostic("X712", message, help="draw the bars instead: profile.plot()"))
    frame = Frame(*_SIZE, left=78, right=190, top=34)
    ridges = [ceiling / limits.bytes_per_second for ceiling in limits.ceilings.values()]
    along = scale([*(point.intensity for point in points), *ridges], frame.left, frame.wall, log=True, margin=0.12)
    heights = [point.flops_per_second for point in points] + [*limits.ceilings.values()]
    up = scale(heights, frame.floor, frame.top + 6, log=True, margin=0.08)
    title = f"Speed of each layer of {subject}, below this machine's limits"
    parts = [text(4, 15, title, "title", "start"), *upwards(frame, up, lambda rate: f"{short_number(rate)}FLOP/s")]
    parts += across(frame, along, lambda value: f"{value:g}", "FLOPs for each byte that must be moved")
    parts += _limits(limits, frame, along, up)
    legend = max(spread([up.at(rate) for rate in limits.ceilings.values()], _APART)) + 3 * _APART
    parts += _points(points, frame, (along, up), legend)
    words = "; ".join(f"{point.name}: {point.words}" for point in points)
    return ChartPicture(picture(name, frame, title, words, parts), title)


def _limits(limits: MachineLimits, frame: Frame, along: Scale, up: Scale) -> Iterator[str]:
    """Draw memory's slope up to the highest ceiling, and each ceiling from where it is the lower limit."""
    highest = max(limits.ceilings.values())
    left = max(along.low, up.low / limits.bytes_per_second)
    right = min(highest / limits.bytes_per_second, along.high)
    ends = [(along.at(x), up.at(x * limits.bytes_per_second)) for x in (left, right)]
    said = f"memory: {short_number(limits.bytes_per_second)}B/s"
    yield f"<g><title>{escape(said)}</title>{line('roof', *ends[0], *ends[1])}</g>"
    middle = [(first + last) / 2 for first, last in zip(*ends, strict=True)]
    yield text(middle[0] + 6, middle[1] + 14, said, "roof-word", "start")
    ceilings = sorted(limits.ceilings.items(), key=lambda each: -each[1])
    places = spread([up.at(rate) for _, rate in ceilings], _APART)
    for (family, rate), place in zip(ceilings, places, strict=True):
        y = up.at(rate)
        start = min(max(rate / limits.bytes_per_second, along.low), along.high)
        yield line("roof", along.at(start), y, frame.wall, y)
        yield text(frame.wall + 6, place + 3.5, f"{family}: {short_number(rate)}FLOP/s", "roof-word", "start")


def _points(points: Sequence[RooflinePoint], frame: Frame, axes: tuple[Scale, Scale], legend: float) -> Iterator[str]:
    """Draw the points, the largest first, round where arithmetic is the limit and square where memory is.

    Those that take longest are numbered, and named at the right from the height `legend` on.
    """
    along, up = axes
    for number, point in enumerate(points, 1):
        x, y = along.at(point.intensity), up.at(point.flops_per_second)
        radius = 4 + 9 * math.sqrt(point.share)
        tip = f"<title>{escape(f'{point.name}: {point.words}')}</title>"
        if point.bound == "memory":
            corner = f'x="{x - radius:.1f}" y="{y - radius:.1f}"'
            shape = f'<rect class="layer memory" {corner} width="{2 * radius:.1f}" height="{2 * radius:.1f}"/>'
        else:
            shape = f'<circle class="layer" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        yield f'<g class="point">{tip}{shape}</g>'
        if number <= _MOST_NAMED:
            yield text(x, y + 3.6, str(number), "number-in")
    left, y = frame.wall + 10, legend
    yield text(left, y, "longest layers", "label", "start")
    for number, point in enumerate(points[:_MOST_NAMED], 1):
        yield text(left, y + 14 * number, f"{number} {shortened(point.name, _MOST_NAME)}", "series-name", "start")
    below = y + 14 * min(len(points), _MOST_NAMED) + 22
    yield f'<circle class="layer" cx="{left + 5:.1f}" cy="{below - 3.5:.1f}" r="5"/>'
    yield text(left + 15, below, "limited by arithmetic", "series-name", "start")
    yield f'<rect class="layer memory" x="{left:.1f}" y="{below + 6:.1f}" width="10" height="10"/>'
    yield text(left + 15, below + 14.5, "limited by memory", "series-name", "start")

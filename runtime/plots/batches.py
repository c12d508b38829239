"""Latency and throughput over batch sizes, one line a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from titrant.runtime.plots.svg import color, panel, spread, svg_text


@dataclass(frozen=True)
class Line:
    """One model: batch size → value; `role` is reference (the original), chosen or other."""

    name: str
    values: Mapping[int, float]
    role: str = "other"


UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
STYLES = {
    "reference": {"color": color("ink"), "linewidth": 1.8, "linestyle": (0, (4, 2)), "zorder": 4},
    "chosen": {"color": color("accent"), "linewidth": 2.4, "zorder": 5},
    "other": {"color": color("other"), "linewidth": 1.3, "zorder": 3},
}


def latency(lines: list[Line], name: str = "latency") -> str:
    """Draw the median time of one case over the batch size; values are seconds of a whole batch."""
    longest = max((value / batch for line in lines for batch, value in line.values.items()), default=0.0)
    unit, scale = next((unit for unit in UNITS if longest >= unit[1]), UNITS[-1])
    per_case = [
        Line(line.name, {batch: value / batch / scale for batch, value in line.values.items()}, line.role)
        for line in lines
    ]
    return _draw(per_case, name, "Median time per case", unit)


def throughput(lines: list[Line], name: str = "throughput") -> str:
    """Draw cases per second over the batch size."""
    return _draw(lines, name, "Throughput", "cases per second")


def _draw(lines: list[Line], name: str, title: str, unit: str) -> str:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    batches = sorted({batch for line in lines for batch in line.values})
    longest = min(20, max((len(line.name) for line in lines), default=0))
    with panel(f"{title} ({unit})", right=0.96 - 0.0135 * longest) as (figure, axes):
        for line in lines:
            style: dict[str, Any] = STYLES[line.role]
            known = [batch for batch in batches if batch in line.values]
            axes.plot(known, [line.values[batch] for batch in known], marker="o", markersize=3.5, **style)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}"))
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("batch size")
        _labels(axes, [line for line in lines if line.values])
        return svg_text(figure, name, f"{title} in {unit} over the batch size, one line a model")


def _labels(axes: Any, lines: list[Line]) -> None:
    """Name every line at its right end, moved apart where two would overlap."""
    from math import log10

    if not lines:
        return
    ends = [log10(line.values[max(line.values)]) for line in lines]
    low, high = (log10(limit) for limit in axes.get_ylim())
    places = spread(ends, (high - low) / 15)
    right = max(max(line.values) for line in lines)
    for line, place in zip(lines, places, strict=True):
        role = {"reference": "ink", "chosen": "accent", "other": "muted"}[line.role]
        axes.annotate(
            line.name if len(line.name) <= 20 else line.name[:19] + "…",
            (right, 10**place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=color(role),
            fontsize=8,
            fontweight="bold" if line.role == "chosen" else "normal",
            parse_math=False,
            annotation_clip=False,
        )

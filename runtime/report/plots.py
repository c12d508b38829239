"""Draw the report's plots as inline SVG with matplotlib: latency and throughput over batch sizes, and learning curves.

The SVG holds no date and no random ids, and a page can restyle its colors.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from titrant.runtime.report.record_view import Curves, RateSweep, Record
from titrant.runtime.report.search_path import FP32, REPAIRED, UNIFORM, SearchPath
from titrant.runtime.report.search_values import Sensitivity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Pictures:
    """SVG elements; () where the record has nothing to draw."""

    speed: tuple[Markup, ...] = ()
    training: tuple[Markup, ...] = ()
    sensitivity: tuple[Markup, ...] = ()
    search: tuple[Markup, ...] = ()


def pictures(record: Record, paths: tuple[SearchPath, ...] = ()) -> Pictures:
    """Draw speed over batch sizes, the learning curves, what each region does to the answers, and paths of searches."""
    damages = tuple(
        Markup(bars(name, sensitivity, name=f"sensitivity{place}"))
        for place, (name, sensitivity) in enumerate(record.values.sensitivity.items())
    )
    drawn = tuple(Markup(path_picture(path, f"path{place}")) for place, path in enumerate(paths) if _drawable(path))
    return Pictures(_speed(record), _training(record.values.curves), damages, drawn)


def _speed(record: Record) -> tuple[Markup, ...]:
    timings = record.values.timings
    order = ["original", *(candidate.id for candidate in record.plan.candidates), *timings]
    names = [name for name in dict.fromkeys(order) if name in timings and timings[name].batches]
    if not names:
        return ()
    roles = {"original": "reference", **dict.fromkeys(record.run.released, "chosen")}
    halves = [
        Line(name, {batch: timing.p50 for batch, timing in timings[name].batches.items()}, roles.get(name, "other"))
        for name in names
    ]
    rates = [
        Line(name, {batch: timing.throughput for batch, timing in timings[name].batches.items()}, line.role)
        for name, line in zip(names, halves, strict=True)
    ]
    return Markup(latency(halves)), Markup(throughput(rates))


def _training(training: Curves | None) -> tuple[Markup, ...]:
    if training is None:
        return ()
    losses = {"train rows": training.loss, "tuning rows": training.tuning_loss}
    panels = [("Loss", {name: values for name, values in losses.items() if values})]
    if training.tuning_accuracy:
        panels.append(("Accuracy on tuning rows", {"tuning rows": training.tuning_accuracy}))
    gradients = training.gradients
    if gradients is not None and (gradients.above or gradients.layers):
        panels.append(("Largest global norm of the gradients", {"all layers": gradients.global_norm}))
    drawn = [
        Markup(curves(title, series, training.best_epoch, name=f"curve{index}"))
        for index, (title, series) in enumerate(panels)
        if series
    ]
    return (*drawn, *([] if training.sweep is None else [Markup(sweep_picture(training.sweep))]))


# role → (CSS variable, color where the page does not set it)
COLORS = {
    "ink": ("--ink", "#1b2130"),
    "muted": ("--muted", "#5d6675"),
    "line": ("--line", "#dde1e8"),
    "accent": ("--accent", "#2455d0"),
    "second": ("--second", "#b4540a"),
    "other": ("--other", "#9aa3b2"),
}
SIZE = (4.6, 2.9)  # inches at 100 to the inch: legible down to a phone's width
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "titrant",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLORS["line"][1],
    "axes.labelcolor": COLORS["muted"][1],
    "axes.titlecolor": COLORS["ink"][1],
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": COLORS["line"][1],
    "grid.linewidth": 0.7,
    "text.color": COLORS["ink"][1],
    "xtick.color": COLORS["muted"][1],
    "ytick.color": COLORS["muted"][1],
    "xtick.minor.bottom": False,
    "ytick.minor.left": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def color(role: str) -> str:
    """Return the color of a role, as matplotlib wants it."""
    return COLORS[role][1]


@contextmanager
def panel(title: str, right: float = 0.97) -> Iterator[tuple["Figure", "Axes"]]:
    """Give a figure with one set of axes, styled, that ends at `right` of its width; call `svg_text` before leaving."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **SETTINGS, "backend": "agg"}):
        figure = Figure(figsize=SIZE, dpi=100)
        # Fixed margins: a layout engine would draw everything twice to find nearly the same.
        axes = figure.add_axes((0.13, 0.17, right - 0.13, 0.70))
        # A `$` in a user's name is a dollar sign, not mathematics.
        axes.set_title(title, parse_math=False)
        yield figure, axes


def svg_text(figure: "Figure", name: str, label: str) -> str:
    """Write a figure as an `<svg>` element; `name` keeps its ids apart from another picture's on the same page."""
    import io
    import warnings

    buffer = io.StringIO()
    with warnings.catch_warnings():
        # Text stays text: a letter that matplotlib's own font lacks is drawn by the reader's.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    opening = rf'<svg {_attributes(label)} viewBox="\1">'
    text = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', opening, text, count=1)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace('xlink:href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    text = re.sub(r"font: ([^;\"']*?)(\d+(?:\.\d+)?)px [^;\"]*", r"font: \1\2px var(--sans, sans-serif)", text)
    for variable, value in COLORS.values():
        text = text.replace(value, f"var({variable}, {value})")
    return re.sub(r">\s+<", "><", text).strip()


def _attributes(label: str) -> str:
    return f'class="plot" role="img" aria-label="{escape(label)}"'.replace("\\", "\\\\")


def spread(positions: list[float], least: float) -> list[float]:
    """Move label positions apart to at least `least`, keeping their order and staying near where they were."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    moved = list(positions)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    return moved


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
            timed = [batch for batch in batches if batch in line.values]
            axes.plot(timed, [line.values[batch] for batch in timed], marker="o", markersize=3.5, **style)
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


ROLES = ("accent", "second", "ink", "other")


def curves(
    title: str, series: Mapping[str, Sequence[float]], best_epoch: int | None = None, name: str = "curve"
) -> str:
    """Draw one number an epoch for each series, counted from 1; `best_epoch` is marked by a line."""
    from matplotlib.ticker import MaxNLocator

    with panel(title) as (figure, axes):
        for index, (label, values) in enumerate(series.items()):
            epochs = range(1, len(values) + 1)
            marker = "o" if len(values) < 3 else ""
            axes.plot(epochs, values, label=label, linewidth=1.8, marker=marker, color=color(ROLES[index % len(ROLES)]))
        if best_epoch is not None:
            axes.axvline(best_epoch, color=color("muted"), linewidth=1, linestyle=(0, (2, 2)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(left=0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("epoch" if best_epoch is None else f"epoch (dashed: {best_epoch}, whose weights were kept)")
        if len(series) > 1:
            axes.legend(frameon=False, fontsize=8)
        return svg_text(figure, name, f"{title}, one value an epoch")


def sweep_picture(sweep: RateSweep) -> str:
    """Draw the loss over the learning rates of a finder; the rate that was taken is marked by a line."""
    with panel("Learning-rate finder") as (figure, axes):
        axes.plot(sweep.rates, sweep.loss, linewidth=1.8, color=color("accent"))
        axes.set_xscale("log")
        axes.tick_params(axis="y", length=0)
        label = "learning rate"
        if sweep.chosen is not None:
            axes.axvline(sweep.chosen, color=color("muted"), linewidth=1, linestyle=(0, (2, 2)))
            label = f"learning rate (dashed: {sweep.chosen:.3g}, which was taken)"
        axes.set_xlabel(label)
        return svg_text(figure, "sweep", "Smoothed loss over the learning rate, one value a step")


def bars(title: str, sensitivity: Sensitivity, name: str = "sensitivity") -> str:
    """Draw a bar for each region, in the order of computing, as long as its damage on a logarithmic scale."""
    from matplotlib.ticker import NullLocator

    checked = sensitivity.check.regions if sensitivity.check else {}
    figures = [region.kl for region in sensitivity.regions] + [sensitivity.whole, *checked.values()]
    least = min((figure for figure in figures if figure > 0), default=1.0) / 3
    places = range(len(sensitivity.regions))
    with panel(title) as (figure, axes):
        axes.set_position((0.34, 0.17, 0.62, 0.70))
        axes.barh(places, [max(region.kl, least) - least for region in sensitivity.regions], left=least,
                  color=color("accent"), height=0.7)  # fmt: skip
        for place, region in enumerate(sensitivity.regions):
            if region.name in checked:
                axes.plot(max(checked[region.name], least), place, "|", color=color("ink"), markersize=7)
        axes.axvline(max(sensitivity.whole, least), color=color("second"), linewidth=1, linestyle=(0, (2, 2)))
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_yticks(places, [_shortened(region.name) for region in sensitivity.regions], parse_math=False)
        axes.tick_params(axis="y", length=0, labelsize=7)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.set_xlabel("damage alone (dashed: all at once)")
        return svg_text(figure, name, f"damage to the answers of {title}, one bar a region")


_MOST_NAME = 22


def _shortened(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"…{name[1 - _MOST_NAME :]}"


def _drawable(path: SearchPath) -> bool:
    return sum(point.kept is not None and point.seconds is not None for point in path.points) > 1


# What one kind of candidate is drawn as, so that it is told without color too.
_MARKERS = {FP32: "s", UNIFORM: "X", REPAIRED: "D"}


def path_picture(path: SearchPath, name: str = "path") -> str:
    """Draw what each candidate kept on tuning rows over its latency, with the threshold and what is released ringed."""
    seen = [(point, point.kept, point.seconds) for point in path.points]
    drawn = [(point, kept, seconds) for point, kept, seconds in seen if kept is not None and seconds is not None]
    slowest = max(seconds for _, _, seconds in drawn)
    word, unit = next(((word, unit) for word, unit in UNITS if slowest >= unit), UNITS[-1])
    with panel(f"mending {path.base}") as (figure, axes):
        for point, kept, seconds in drawn:
            marker = _MARKERS.get(point.kind, "o")
            axes.plot(seconds / unit, kept, marker, color=color("accent" if point.released else "ink"), markersize=5)
            if point.lower is not None:
                axes.vlines(seconds / unit, point.lower, kept, color=color("muted"), linewidth=1)
            if point.predicted_seconds is not None:
                axes.plot(point.predicted_seconds / unit, kept, "|", color=color("muted"), markersize=8)
            if point.released:
                axes.plot(seconds / unit, kept, "o", markersize=12, fillstyle="none", color=color("accent"))
            axes.annotate(point.id, (seconds / unit, kept), xytext=(5, 4), textcoords="offset points", fontsize=7,
                          parse_math=False)  # fmt: skip
        if path.asked is not None:
            axes.axhline(path.asked, color=color("second"), linewidth=1, linestyle=(0, (2, 2)))
        axes.set_xlabel(f"median latency of a batch, {word}")
        axes.set_ylabel("kept on tuning rows")
        axes.margins(x=0.16, y=0.14)
        return svg_text(figure, name, f"what was tried to mend {path.base}: kept on tuning rows over latency")

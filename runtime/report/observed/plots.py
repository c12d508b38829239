"""Pictures and numbers of the user's own functions, of the original and of what is released."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import escape

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.svg import Frame, picture, text
from titrant.runtime.page.section import PageSection, PageTable, TableColumn, number_cell

_SENTENCE = (
    "Drawn by the recipe's own functions of what each model answers on tuning rows; titrant judges nothing of it."
)

_HEAD, _LEAST_WIDTH = 24, 440.0


def plots_section(seen: Mapping[str, Any]) -> PageSection:
    """Show each function with a picture, or a column of numbers, for each model."""
    functions: dict[str, dict[str, Mapping[str, Any]]] = {}
    for subject, value in seen.items():
        for plot in value["plots"]:
            functions.setdefault(plot["function"], {})[subject] = plot
    inner = tuple(_of_function(place, plots) for place, plots in enumerate(functions.values()))
    return PageSection("own-plots", "Plots of your own", _SENTENCE, inner=inner)


def _of_function(place: int, plots: Mapping[str, Mapping[str, Any]]) -> PageSection:
    first = next(iter(plots.values()))
    shown = {subject: plot for subject, plot in plots.items() if not plot["failed"]}
    pictures = tuple(
        _framed(f"own{place}-{number}", subject, plot)
        for number, (subject, plot) in enumerate(shown.items())
        if plot["svg"] or plot["png"]
    )
    failed = tuple(f"{subject}: {plot['function']} drew nothing: {plot['failed']}." for subject, plot in plots.items()
                   if plot["failed"])  # fmt: skip
    probes = {subject: plot["numbers"] for subject, plot in shown.items() if plot["numbers"]}
    return PageSection(
        f"own-plot-{place}", first["title"], f"Drawn by {first['function']}.", _table(probes), pictures, notes=failed
    )


def _framed(name: str, title: str, plot: Mapping[str, Any]) -> ChartPicture:
    """Show a picture as an image inside one of ours: a browser runs nothing in an image and reads nothing for it."""
    kind, data = ("png", plot["png"]) if plot["png"] else ("svg+xml", base64.b64encode(plot["svg"].encode()).decode())
    width, height = plot["width"], plot["height"]
    scale = max(_LEAST_WIDTH / width, 1.0)  # a small one would have its heading blown up with it
    wide, high = width * scale, height * scale
    source = f"data:image/{kind};base64,{data}"
    image = f'<image y="{_HEAD}" width="{wide:.0f}" height="{high:.0f}" href="{escape(source)}"/>'
    parts = [text(4, 14, title, "title", "start"), image]
    return ChartPicture(picture(name, Frame(wide, high + _HEAD), title, title, parts), title)


def _table(probes: Mapping[str, Mapping[str, float | None]]) -> PageTable | None:
    names: Sequence[str] = list(dict.fromkeys(name for numbers in probes.values() for name in numbers))
    if not names:
        return None
    columns = (TableColumn("Number"), *(TableColumn(subject, numeric=True) for subject in probes))
    rows = tuple((name, *(_cell(numbers.get(name)) for numbers in probes.values())) for name in names)
    return PageTable(columns, rows)


def _cell(value: float | None) -> Any:
    return number_cell(value, None if value is None else f"{value:.6g}")

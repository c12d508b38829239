"""One matplotlib figure as inline SVG: no date, no random ids, colours that a page can restyle."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from markupsafe import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# role → (CSS variable, colour where the page does not set it)
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
    """Return the colour of a role, as matplotlib wants it."""
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

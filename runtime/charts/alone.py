"""A chart by itself: shown in a notebook, or saved as a picture or a page that needs nothing else."""

import re
from functools import cache
from pathlib import Path

from markupsafe import escape

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.frozen import dataclass

_SUFFIXES = (".svg", ".html", ".png")
# Pixels of a .png for each of the picture's own: it is printed and put on slides.
_ZOOM = 2.0


@cache
def chart_style() -> str:
    """Return the colors, in light and in dark, and the style of every chart."""
    return (Path(__file__).parent / "charts.css").read_text(encoding="utf-8")


@cache
def literal_style() -> str:
    """Return the style with its colors written out: programs that convert SVG know no variables.

    Light is what they take; browsers take dark where the reader's setting is.
    """
    palettes = re.findall(r":root \{(.*?)\}", chart_style(), re.DOTALL)
    rules = "\n".join(rule for rule in chart_style().splitlines() if rule.startswith(".chart"))
    rules += "\nsvg { background: var(--card); }"
    light, dark = (dict(re.findall(r"(--[\w-]+): ([^;]+);", palette)) for palette in palettes)
    return f"{_with(rules, light)}\n@media (prefers-color-scheme: dark) {{\n{_with(rules, light | dark)}\n}}"


def _with(rules: str, colors: dict[str, str]) -> str:
    return re.sub(r"var\((--[\w-]+)\)", lambda name: colors[name[1]], rules)


@dataclass(frozen=True)
class ChartPicture:
    """A chart as `titrant.runtime.charts.svg.picture` draws it, and what it is called."""

    svg: str
    title: str

    def alone(self) -> str:
        """Return the SVG with its own colors and style, as a file that any browser opens."""
        head, _, inner = self.svg.partition(">")
        return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{literal_style()}</style>{inner}\n'

    def page(self) -> str:
        """Return an HTML page of the chart alone, which needs no network."""
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" '
            f'content="light dark"><title>{escape(self.title)}</title><style>{chart_style()}'
            f"body {{ background: var(--card); margin: 1rem; }}</style></head><body>{self.svg}</body></html>\n"
        )

    def png(self) -> bytes:
        """Return the chart as PNG, in light, at twice its size; RecipeError X662 where no converter is installed."""
        try:
            import resvg_py
        except ImportError:
            message, advice = (
                "a .png takes resvg-py, which is not installed",
                "pip install 'titrant[png]', or save .svg",
            )
            raise RecipeError(Diagnostic("X662", message, help=advice)) from None
        light = re.search(r":root \{.*?--card: ([^;]+);", chart_style(), re.DOTALL)
        assert light is not None
        return bytes(resvg_py.svg_to_bytes(svg_string=self.alone(), zoom=_ZOOM, background=light[1]))

    def save(self, file: Path | str) -> Path:
        """Write the chart to a file, .svg, .html or .png, and return its path.

        Raises RecipeError X662 for any other suffix, for a folder that is not there, and for .png without a converter.
        """
        path = Path(file)
        writers = {
            ".svg": lambda: self.alone().encode(),
            ".html": lambda: self.page().encode(),
            ".png": self.png,
        }
        if path.suffix.lower() not in writers:
            message = f"a picture cannot be saved as {path.name}"
            raise RecipeError(Diagnostic("X662", message, help=f"give it a name that ends in {' or '.join(_SUFFIXES)}"))
        content = writers[path.suffix.lower()]()
        try:
            path.write_bytes(content)
        except OSError as error:
            message, advice = f"{path} cannot be written: {error.strerror}", "name a folder that is there"
            raise RecipeError(Diagnostic("X662", message, help=advice)) from None
        return path

    def _repr_svg_(self) -> str:
        """Show the chart where a notebook shows the value of a cell."""
        return self.alone()

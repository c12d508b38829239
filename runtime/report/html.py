"""Lay a report out as one HTML page that needs nothing else: no network, no scripts, no fonts."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from titrant.runtime.report.candidates import outcome, shown_candidates
from titrant.runtime.report.graph import lay_out
from titrant.runtime.report.graph_svg import graph_svg
from titrant.runtime.report.page import Page
from titrant.runtime.report.pictures import pictures
from titrant.runtime.report.words import cases, fraction, place, short

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def html_text(page: Page) -> str:
    """Return the page as text."""
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    template = _environment().get_template("report.html.jinja")
    return template.render(page=page, css=Markup(css), pictures=pictures(page.record), graph=_graph(page))


def _graph(page: Page) -> Markup:
    tones = {name: outcome(candidate)[2] for name, candidate in shown_candidates(page.record).items()}
    return Markup(graph_svg(lay_out(page.record.plan), {row.id: row for row in page.steps}, tones))


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A picture is SVG of ours, in which every name is already escaped.
    environment.filters |= {"picture": Markup, "fraction": fraction, "cases": cases, "short": short, "place": place}
    return environment

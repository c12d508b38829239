"""Write an instrument's page as HTML: its sections one below the other, in light, dark, on a phone and on paper."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from titrant.runtime.charts.alone import chart_style
from titrant.runtime.instruments.page.section import PageSection, TableCell
from titrant.runtime.report import templates
from titrant.schema.values.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE, _SHARED = Path(__file__).parent, Path(templates.__file__).parent


def page_html(title: str, sections: tuple[PageSection, ...], *, brand: str, lead: str = "") -> str:
    """Return a page that needs no network and, but for sorting tables, no script.

    `brand` says which instrument wrote it, `lead` in one sentence what the page is of. Two sections never share an id.
    """
    script = re.sub(r"\n\s*", "\n", (_SHARED / "report.js").read_text(encoding="utf-8")).strip()
    page = _environment().get_template("page.html.jinja").render(
        title=title,
        brand=brand,
        lead=lead,
        sections=sections,
        css=page_style(),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode(),
    )  # fmt: skip
    return printable(page)


@cache
def page_style() -> Markup:
    """Return the style sheet: that of a run's report, and what only an instrument's page has."""
    sheets = (_SHARED / "report.css", _HERE / "page.css")
    return Markup(chart_style() + "".join(sheet.read_text(encoding="utf-8") for sheet in sheets))


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A picture is SVG of ours, in which every name is already escaped.
    environment.filters |= {"picture": Markup, "cell": _cell}
    return environment


def _cell(cell: TableCell | str) -> TableCell:
    return TableCell(cell) if isinstance(cell, str) else cell

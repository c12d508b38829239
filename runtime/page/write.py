"""Write a page of sections as HTML: its sections one below the other, in light, dark, on a phone and on paper."""

import base64
import hashlib
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from titrant.runtime.charts.alone import chart_style
from titrant.runtime.page.section import PageSection, TableCell
from titrant.schema.values.distributions import installed_version
from titrant.schema.values.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

# Where the templates, styles and the script of every page are.
ASSETS = Path(__file__).parent


def page_html(title: str, sections: tuple[PageSection, ...], *, brand: str, lead: str = "") -> str:
    """Return a page that needs no network and, but for sorting tables, no script.

    `brand` says which instrument wrote it, `lead` in one sentence what the page is of. Two sections never share an id.
    """
    page = _environment().get_template("page.html.jinja").render(
        title=title,
        brand=brand,
        lead=lead,
        sections=sections,
        css=page_style(),
        script=page_script(),
        script_digest=script_digest(),
    )  # fmt: skip
    return printable(page)


@cache
def page_script() -> Markup:
    """Return the script that sorts and filters tables; no page needs it."""
    return Markup(re.sub(r"\n\s*", "\n", (ASSETS / "report.js").read_text(encoding="utf-8")).strip())


def script_digest() -> str:
    """Return the digest of the script in a page, by which the page permits it and no other."""
    return base64.b64encode(hashlib.sha256(f"\n{page_script()}\n".encode()).digest()).decode()


@cache
def page_style() -> Markup:
    """Return the style sheet of every page."""
    sheets = (ASSETS / "report.css", ASSETS / "page.css")
    return Markup(chart_style() + "".join(sheet.read_text(encoding="utf-8") for sheet in sheets))


@cache
def _environment() -> "Environment":
    environment = template_environment((ASSETS,))
    # A picture is SVG of ours, in which every name is already escaped.
    environment.filters |= {"picture": Markup, "cell": as_cell}
    return environment


def template_environment(folders: Sequence[Path]) -> "Environment":
    """Return where templates in some folders are found; what is put into one is escaped.

    What they compile to is kept as Python keeps modules, beside them and where it may be written: compiling takes
    longer than filling them in.
    """
    from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined

    kept = ASSETS / "__pycache__"
    compiled = None
    if not sys.dont_write_bytecode and os.access(kept if kept.is_dir() else ASSETS, os.W_OK):
        kept.mkdir(exist_ok=True)
        compiled = FileSystemBytecodeCache(str(kept), f"jinja2-{installed_version('jinja2')}-%s.cache")
    return Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=compiled,
    )


def as_cell(cell: TableCell | str) -> TableCell:
    """Return a cell of a table whose words may stand for it."""
    return TableCell(cell) if isinstance(cell, str) else cell

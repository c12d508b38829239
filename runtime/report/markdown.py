"""Lay a report out as Markdown, fit for a pull request."""

import re
from functools import cache
from typing import TYPE_CHECKING

from titrant.runtime.report.html import TEMPLATES
from titrant.runtime.report.page import Page
from titrant.runtime.report.words import fraction, short
from titrant.schema.markdown import block, code, inline, row

if TYPE_CHECKING:
    from jinja2 import Environment


def markdown_text(page: Page) -> str:
    """Return the report as text."""
    text = _environment().get_template("report.md.jinja").render(page=page)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Markdown is not HTML: every value goes through `i` (inline), `c` (code) or `block` in the template.
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"i": inline, "c": code, "block": block, "row": row, "fraction": fraction, "short": short}
    return environment

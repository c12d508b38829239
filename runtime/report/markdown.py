"""Lay a report out as Markdown, fit for a pull request."""

import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from titrant.runtime.report.html import TEMPLATES
from titrant.runtime.report.page import Page
from titrant.runtime.report.words import fraction, short

if TYPE_CHECKING:
    from jinja2 import Environment

SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&!$@])")


def markdown_text(page: Page) -> str:
    """Return the report as text."""
    text = _environment().get_template("report.md.jinja").render(page=page)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def inline(text: object) -> str:
    """Make any text safe inside a line or a table cell: one line, nothing in it means Markdown or HTML.

    A `@` is parted from its name, so that a recipe cannot call people into a pull request.
    """
    flat = " ".join(str(text).split())
    return SPECIAL.sub(lambda found: "@&#8203;" if found[0] == "@" else "\\" + found[0], flat)


def code(text: object) -> str:
    """Write a name as inline code, with a fence longer than any run of backticks in it."""
    flat = " ".join(str(text).split()).replace("|", "\\|")
    runs = [len(run) for run in re.findall(r"`+", flat)]
    fence = "`" * (max(runs, default=0) + 1)
    pad = " " if runs else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def block(text: str, language: str = "") -> str:
    """Write a block of code, with a fence longer than any in it."""
    runs = [len(run) for run in re.findall(r"`{3,}", text)]
    fence = "`" * max(3, max(runs, default=0) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def row(cells: Iterable[object]) -> str:
    """Write one table row of cells that are Markdown already."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


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

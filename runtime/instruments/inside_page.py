"""Write what was seen inside models as text, or as a page of its own."""

from pathlib import Path

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.section import Section, SectionTable
from titrant.runtime.instruments.attention.section import attention_section
from titrant.runtime.instruments.attention.seen import AttentionSeen
from titrant.runtime.instruments.attention.words import attention_text
from titrant.runtime.instruments.comparison.difference import ModelComparison
from titrant.runtime.instruments.comparison.section import comparison_section
from titrant.runtime.instruments.comparison.words import comparison_text
from titrant.runtime.instruments.health.finding import ModelHealth
from titrant.runtime.instruments.health.section import health_section
from titrant.runtime.instruments.health.words import health_text
from titrant.runtime.instruments.page.section import PageSection, PageTable, TableCell, TableColumn
from titrant.runtime.instruments.page.write import page_html
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.text import os_reason

Seen = ModelHealth | AttentionSeen | ModelComparison
_TONES = {"✕": "fail", "!": "warn"}


def inside_text(seen: Seen, *, whole: bool = False) -> str:
    """Write what was seen in at most 100 columns; `whole` shortens nothing."""
    if isinstance(seen, ModelHealth):
        return health_text(seen, whole=whole)
    if isinstance(seen, ModelComparison):
        return comparison_text(seen, whole=whole)
    return attention_text(seen)


def save_inside(seen: Seen, name: str, file: Path) -> Path:
    """Write what was seen of a model of that name as a page (.html), and return its path.

    RecipeError X662 for any other suffix, X663 for a file that cannot be written.
    """
    if file.suffix.lower() not in (".html", ".htm"):
        message = f"what was seen inside a model cannot be saved as {file.name}"
        raise RecipeError(Diagnostic("X662", message, help="give it a name that ends in .html, or take --json"))
    page = page_html(name, page_sections(_section(seen, name)), brand="titrant inspect")
    try:
        file.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        message = f"{file} cannot be written: {os_reason(error)}"
        raise RecipeError(Diagnostic("X663", message, help="name a file in a folder that exists")) from None
    return file


def _section(seen: Seen, name: str) -> Section:
    if isinstance(seen, ModelHealth):
        return health_section({name: seen})
    return comparison_section(seen) if isinstance(seen, ModelComparison) else attention_section({name: seen})


def page_sections(section: Section) -> tuple[PageSection, ...]:
    """Return a report's section as those of an instrument's page: the first table's, then one for each further table."""
    pictures = tuple(ChartPicture(svg, section.title) for svg in section.pictures)
    first, *rest = [_table(table) for table in section.tables] or [None]
    head = PageSection(section.id, section.title, section.sentence, first, pictures, notes=section.notes)
    further = [
        PageSection(f"{section.id}-{place}", table.caption or section.title, "", shown)
        for place, (table, shown) in enumerate(zip(section.tables[1:], rest, strict=True), 1)
    ]
    return (head, *further)


def _table(table: SectionTable) -> PageTable | None:
    if not table.rows:
        return None
    columns = tuple(TableColumn(name, numeric=place in table.numbers) for place, name in enumerate(table.head))
    return PageTable(columns, tuple(tuple(_cell(cell) for cell in row) for row in table.rows))


def _cell(words: str) -> TableCell:
    return TableCell(words, _leading(words), _TONES.get(words[:1], ""))


def _leading(words: str) -> float | None:
    """Return the number that a cell begins with, to sort by."""
    try:
        return float(words.split()[0].rstrip("%").replace(",", ""))
    except (ValueError, IndexError):
        return None

"""Write what was seen inside models as text, or as a page of its own."""

from pathlib import Path

from titrant.runtime.instruments.attention.section import attention_section
from titrant.runtime.instruments.attention.seen import AttentionSeen
from titrant.runtime.instruments.attention.words import attention_text
from titrant.runtime.instruments.comparison.difference import ModelComparison
from titrant.runtime.instruments.comparison.section import comparison_sections
from titrant.runtime.instruments.comparison.words import comparison_text
from titrant.runtime.instruments.health.finding import ModelHealth
from titrant.runtime.instruments.health.section import health_section
from titrant.runtime.instruments.health.words import health_text
from titrant.runtime.page.section import PageSection
from titrant.runtime.page.write import page_html
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.text import os_reason

Seen = ModelHealth | AttentionSeen | ModelComparison


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
    page = page_html(name, _sections(seen, name), brand="titrant inspect")
    try:
        file.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        message = f"{file} cannot be written: {os_reason(error)}"
        raise RecipeError(Diagnostic("X663", message, help="name a file in a folder that exists")) from None
    return file


def _sections(seen: Seen, name: str) -> tuple[PageSection, ...]:
    if isinstance(seen, ModelComparison):
        return comparison_sections(seen)
    return (health_section({name: seen}) if isinstance(seen, ModelHealth) else attention_section({name: seen}),)

"""What steps saw inside models, as sections of the report in their order: a file a subject."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from titrant.runtime.instruments.attention.section import attention_section
from titrant.runtime.instruments.attention.seen import AttentionSeen
from titrant.runtime.instruments.health.finding import ModelHealth
from titrant.runtime.instruments.health.section import health_section
from titrant.runtime.page.section import PageSection
from titrant.runtime.report.observed.layers import layers_section
from titrant.runtime.report.observed.plots import plots_section
from titrant.runtime.report.observed.summary import summary_section
from titrant.runtime.report.record_view import Record
from titrant.schema.values.canonical import read_back

# The operator → how the report shows what it saw, a mapping by "original" or the candidate's id.
SECTIONS: Mapping[str, Callable[[Mapping[str, Any]], PageSection]] = {
    "inspect.summary": summary_section,
    "inspect.health": lambda seen: health_section(_values(ModelHealth, seen)),
    "inspect.attention": lambda seen: attention_section(_values(AttentionSeen, seen)),
    "profile.layers": layers_section,
    "inspect.plots": plots_section,
}


def _values(kind: type[Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    return {name: read_back(kind, value) for name, value in seen.items()}


def sections(record: Record) -> tuple[PageSection, ...]:
    """Lay out what was seen inside the original and the candidates of the report; () where nothing was asked for."""
    return tuple(filter(None, (_section(name, record) for name in SECTIONS)))


def _section(operator: str, record: Record) -> PageSection | None:
    rows = [row for row in record.values.observed if row.operator == operator]
    if not rows:
        return None
    seen = {row.subject: row.value for row in rows if not row.failed}
    section = SECTIONS[operator](seen)
    unseen = tuple(f"{row.subject}: nothing was seen: {row.failed}." for row in rows if row.failed)
    return replace(section, notes=section.notes + unseen)

"""The sections of a report about the inside of models, in the order in which they stand there."""

from collections.abc import Callable, Mapping
from typing import Any

from titrant.runtime.charts.section import Section
from titrant.runtime.report.observed.layers import layers_section
from titrant.runtime.report.observed.summary import summary_section
from titrant.runtime.report.record_view import Record

# What a model showed, by "original" or the candidate's id.
Seen = Mapping[str, Any]
# The operator that saw it → how the report shows it.
SECTIONS: Mapping[str, Callable[[Seen], Section]] = {
    "inspect.summary": summary_section,
    "profile.layers": layers_section,
}


def sections(record: Record) -> tuple[Section, ...]:
    """Lay out what was seen inside the original and the candidates of the report; () where nothing was asked for."""
    return tuple(filter(None, (_section(name, record) for name in SECTIONS)))


def _section(operator: str, record: Record) -> Section | None:
    rows = [row for row in record.values.observed if row.operator == operator]
    if not rows:
        return None
    seen = {row.subject: row.value for row in rows if not row.failed}
    section = SECTIONS[operator](seen)
    unseen = tuple(f"{row.subject}: nothing was seen: {row.failed}." for row in rows if row.failed)
    return Section(
        section.id, section.title, section.sentence, section.tables, section.pictures, section.notes + unseen
    )

"""What steps saw inside models, as sections of the report in their order: a file a subject."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from titrant.runtime.instruments.attention.section import attention_section
from titrant.runtime.instruments.attention.seen import AttentionSeen
from titrant.runtime.instruments.health.finding import ModelHealth
from titrant.runtime.instruments.health.section import health_section
from titrant.runtime.page.section import PageSection
from titrant.runtime.report.candidates import Shown, leading, shown_candidates
from titrant.runtime.report.observed.layers import layers_section
from titrant.runtime.report.observed.plots import plots_section
from titrant.runtime.report.observed.summary import architecture_section, summary_section
from titrant.runtime.report.record_view import Record
from titrant.schema.values.canonical import read_back

# The operator → how the report shows what it saw, a mapping by "original" or the candidate's id, in its sections.
SECTIONS: Mapping[str, tuple[Callable[[Mapping[str, Any]], PageSection | None], ...]] = {
    "inspect.summary": (summary_section, architecture_section),
    "inspect.health": (lambda seen: health_section(_values(ModelHealth, seen)),),
    "inspect.attention": (lambda seen: attention_section(_values(AttentionSeen, seen)),),
    "profile.layers": (layers_section,),
    "inspect.plots": (plots_section,),
}


def _values(kind: type[Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    return {name: read_back(kind, value) for name, value in seen.items()}


def sections(record: Record) -> tuple[PageSection, ...]:
    """Lay out what was seen inside the original and the candidates of the report; () where nothing was asked for."""
    subjects = {"original", *(lead.id for lead in _leads(record))}
    return tuple(section for name in SECTIONS for section in _sections(name, record, subjects))


def _leads(record: Record) -> Iterator[Shown]:
    """Yield the candidates that the report is about."""
    candidates = shown_candidates(record)
    yield from (candidate for candidate in candidates.values() if candidate.released)
    yield from filter(None, (leading(record, search, candidates.values()) for search in record.plan.searches))


def _sections(operator: str, record: Record, subjects: Collection[str]) -> Iterator[PageSection]:
    """Lay out what an operator saw; what it could not look into is a line below the first section."""
    rows = [row for row in record.values.observed if row.operator == operator]
    failed = {row.subject: row.failed for row in rows if row.failed}
    refused = record.plan.unobserved.get(operator, {})
    failed |= {subject: because for subject, because in refused.items() if subject in subjects}
    if not rows and not failed:
        return
    seen = {row.subject: row.value for row in rows if not row.failed}
    unseen = tuple(f"{subject}: nothing was seen: {reason}." for subject, reason in failed.items())
    for make in SECTIONS[operator]:
        section = make(seen)
        if section is not None:
            yield replace(section, notes=section.notes + unseen)
            unseen = ()

"""Everything a report says, gathered once for the HTML page and for Markdown alike."""

from dataclasses import dataclass

from titrant.runtime.report.advice import advice
from titrant.runtime.report.candidate_rows import CandidateRow, candidate_rows
from titrant.runtime.report.candidates import Shown, leading, shown_candidates
from titrant.runtime.report.class_changes import ClassChanges, class_changes
from titrant.runtime.report.contract_rows import Judged, judged
from titrant.runtime.report.headline import Headline, headline
from titrant.runtime.report.looks_told import looks_told
from titrant.runtime.report.predicted_actual import Pair, loading, totals
from titrant.runtime.report.provenance import Fact, digests, environment, validity
from titrant.runtime.report.record_view import Record
from titrant.runtime.report.savings import Saving, savings
from titrant.runtime.report.snippet import Usage, usage
from titrant.runtime.report.step_rows import StepRow, step_rows
from titrant.schema.plan import Decision, Search


@dataclass(frozen=True)
class Story:
    """One search: the candidate that it ended with, what that saves, how it was judged, and which decisions changed."""

    search: Search
    lead: Shown
    title: str
    savings: tuple[Saving, ...]
    contract: Judged | None
    changes: ClassChanges | None
    usage: Usage | None


@dataclass(frozen=True)
class Page:
    """A whole report, ready to be laid out; nothing in it is escaped yet but the interval pictures."""

    record: Record
    title: str
    headline: Headline
    stories: tuple[Story, ...]
    others: tuple[Judged, ...]  # judged candidates that no story is about
    advice: tuple[str, ...]
    candidates: tuple[CandidateRow, ...]
    decisions: tuple[Decision, ...]
    steps: tuple[StepRow, ...]
    totals: Pair
    loading: Pair
    environment: tuple[Fact, ...]
    digests: tuple[Fact, ...]
    validity: str
    looks: str


def page(record: Record) -> Page:
    """Gather what a record says."""
    candidates = shown_candidates(record)
    leads = {search: leading(record, search, candidates.values()) for search in record.plan.searches}
    stories = tuple(_story(record, search, lead) for search, lead in leads.items() if lead)
    told = {story.lead.id for story in stories}
    others = (judged(record, candidate) for candidate in candidates.values() if candidate.id not in told)
    found = tuple(story.lead for story in stories)
    return Page(
        record=record,
        title=record.plan.name,
        headline=headline(record, found),
        stories=stories,
        others=tuple(other for other in others if other),
        advice=advice(record, found),
        candidates=candidate_rows(record, candidates, found),
        decisions=record.plan.decisions,
        steps=step_rows(record),
        totals=totals(record),
        loading=loading(record),
        environment=environment(record),
        digests=digests(record, found),
        validity=validity(record),
        looks=looks_told(record.looks),
    )


def _story(record: Record, search: Search, lead: Shown) -> Story:
    answers = record.values.answers.get(lead.id)
    method = "plain conversion" if lead.planned.method == "none" else lead.planned.method
    title = f"{method}, {lead.planned.format} in {lead.planned.engine}"
    return Story(
        search=search,
        lead=lead,
        title=title,
        savings=savings(record, search, lead),
        contract=judged(record, lead),
        changes=class_changes(lead.id, answers) if answers and answers.classes else None,
        usage=usage(record, search, lead) if lead.released else None,
    )

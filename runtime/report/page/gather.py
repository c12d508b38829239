"""Everything that a report says, gathered from a record: texts, tables and charts that only have to be laid out."""

from dataclasses import dataclass

from titrant.runtime.contract.company import batch_sentence
from titrant.runtime.page.section import PageSection
from titrant.runtime.report.candidates import (
    CandidateRow,
    LadderRow,
    PrecisionRow,
    Shown,
    candidate_rows,
    ladder_rows,
    leading,
    precision_rows,
    precisions_together,
    shown_candidates,
)
from titrant.runtime.report.contract import Judged, judged, predicted_sentence
from titrant.runtime.report.gain_rows import GainRow, gain_rows
from titrant.runtime.report.headline import Headline, headline, looks_sentence
from titrant.runtime.report.memory import memory_section
from titrant.runtime.report.observed import sections
from titrant.runtime.report.page.advice import advice
from titrant.runtime.report.page.classes import ClassChanges, class_changes
from titrant.runtime.report.page.forest import Forest, forests
from titrant.runtime.report.page.quality import QualityChart, quality_chart
from titrant.runtime.report.page.whom import Harmed, harmed
from titrant.runtime.report.provenance import Fact, Usage, digests, environment, rerun_lines, usage, validity
from titrant.runtime.report.record_view import Record
from titrant.runtime.report.savings import Pair, PredictedRow, Saving, loading, predicted_rows, savings, totals
from titrant.runtime.report.search_path import AblationRow, SearchPath, ablation, search_paths
from titrant.runtime.report.slices import SliceTable, slice_table
from titrant.runtime.report.steps import StepRow, TrainingRow, step_rows, training_rows
from titrant.schema.plan import CandidateSearch, Decision
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.values.units import MIN_CELL


@dataclass(frozen=True)
class Story:
    """One search: the candidate that it ended with, what that saves, how it was judged, and which decisions changed."""

    search: CandidateSearch
    lead: Shown
    title: str
    savings: tuple[Saving, ...]
    gains: tuple[GainRow, ...]  # where the speed-up comes from
    ablation: tuple[AblationRow, ...]  # what each step gave and cost, where the network was reduced
    contract: Judged | None
    predicted: str  # how likely all gates together were to pass, and what came; "" where nobody said
    batch: str  # in which batches it was judged, and whether its answers hold in others; "" where nobody asked
    changes: ClassChanges | None
    metrics: SliceTable | None
    usage: Usage | None
    forests: tuple[Forest, ...] = ()  # one metric side by side over slices
    precisions: tuple[PrecisionRow, ...] = ()  # planned against executed


@dataclass(frozen=True)
class Page:
    """A whole report, ready to be laid out; nothing in it is escaped yet but the interval pictures."""

    record: Record
    title: str
    headline: Headline
    stories: tuple[Story, ...]
    others: tuple[Judged, ...]  # judged candidates that no story is about
    harmed: tuple[Harmed, ...]
    quality: QualityChart
    advice: tuple[str, ...]
    ladder: tuple[LadderRow, ...]
    paths: tuple[SearchPath, ...]
    candidates: tuple[CandidateRow, ...]
    precisions: tuple[PrecisionRow, ...]
    decisions: tuple[Decision, ...]
    steps: tuple[StepRow, ...]
    trainings: tuple[TrainingRow, ...]
    totals: Pair
    loading: Pair
    environment: tuple[Fact, ...]
    digests: tuple[Fact, ...]
    validity: str
    looks: str
    point: str  # how an output becomes a decision; "" where nothing is decided
    rerun: str
    predicted: tuple[PredictedRow, ...] = ()
    observed: tuple[PageSection, ...] = ()  # the inside of models, and memory by step


def page(record: Record, least: int = MIN_CELL) -> Page:
    """Gather what a record says; nothing is shown of groups and cells of fewer than `least` cases."""
    candidates = shown_candidates(record)
    lead_by_search = {search: leading(record, search, candidates.values()) for search in record.plan.searches}
    stories = tuple(_story(record, search, lead, least) for search, lead in lead_by_search.items() if lead)
    in_stories = {story.lead.id for story in stories}
    others = (judged(record, candidate, least) for candidate in candidates.values() if candidate.id not in in_stories)
    leads = tuple(story.lead for story in stories)
    return Page(
        record=record,
        title=record.plan.name,
        headline=headline(record, leads),
        stories=stories,
        others=tuple(other for other in others if other),
        harmed=harmed(record, tuple(candidates.values())),
        quality=quality_chart(record, candidates),
        advice=advice(record, leads),
        ladder=ladder_rows(record.run.ladder),
        paths=search_paths(record, candidates),
        candidates=candidate_rows(record, candidates),
        precisions=precision_rows(candidates.values()),
        decisions=record.plan.decisions,
        steps=step_rows(record),
        trainings=training_rows(record),
        totals=totals(record),
        loading=loading(record),
        environment=environment(record),
        digests=digests(record, leads),
        validity=validity(record),
        looks=looks_sentence(record.look, record.plan.contract),
        point=_point_sentence(record),
        rerun=rerun_lines(record),
        predicted=predicted_rows(record, candidates.values()),
        observed=(*sections(record), *memory_section(record)),
    )


def _point_sentence(record: Record) -> str:
    point, task = record.values.point, TASKS.get(record.plan.task)
    if point is None or (task is not None and task.label != "class"):
        return ""
    decided = "the class with the largest score"
    if point.threshold is not None:
        decided = f"positive from a probability of {point.threshold:g}"
    return f"Operating point: {decided}" + (f" ({point.source})." if point.source else ".")


def _story(record: Record, search: CandidateSearch, lead: Shown, least: int) -> Story:
    answers = record.values.answers.get(lead.id)
    method = "plain conversion" if lead.planned.method == "none" else lead.planned.method
    title = f"{method}, {lead.planned.format} in {lead.planned.engine}"
    contract = judged(record, lead, least)
    return Story(
        search=search,
        lead=lead,
        title=title,
        savings=savings(record, search, lead),
        gains=gain_rows(lead.record.parts, lead.planned.method, lead.record.reductions),
        ablation=ablation(record, search, lead, shown_candidates(record)),
        contract=contract,
        predicted=predicted_sentence(record, contract),
        batch=batch_sentence(lead.id, seen) if (seen := record.values.invariance.get(lead.id)) else "",
        changes=class_changes(lead.id, answers, least) if answers and answers.classes else None,
        metrics=slice_table(record.values.metrics.get(lead.id, ())),
        usage=usage(record, search, lead) if lead.released else None,
        forests=forests(record, lead),
        precisions=precisions_together(precision_rows((lead,))),
    )

"""Gather everything that a report says, and write it as an HTML page, as Markdown and as JSON.

The HTML page needs nothing else: no network, no scripts, no fonts.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from titrant.runtime.contract.company import batch_sentence
from titrant.runtime.report.candidates import (
    CandidateRow,
    LadderRow,
    PrecisionRow,
    Shown,
    candidate_rows,
    ladder_rows,
    leading,
    outcome,
    precision_rows,
    shown_candidates,
)
from titrant.runtime.report.contract import ClassChanges, Judged, class_changes, judged, predicted_sentence
from titrant.runtime.report.gain_rows import GainRow, gain_rows, reduced_words
from titrant.runtime.report.graph import graph_svg, lay_out
from titrant.runtime.report.headline import Headline, advice, headline, looks_sentence
from titrant.runtime.report.plots import pictures
from titrant.runtime.report.provenance import Fact, Usage, digests, environment, usage, validity
from titrant.runtime.report.record_view import Record, cases, fraction, place, read_record, short
from titrant.runtime.report.savings import Pair, Saving, loading, savings, totals
from titrant.runtime.report.search_path import AblationRow, SearchPath, ablation, search_paths
from titrant.runtime.report.slices import SliceTable, slice_table, without_small_slices
from titrant.runtime.report.small_cells import without_small_cells
from titrant.runtime.report.steps import StepRow, TrainingRow, step_rows, training_rows
from titrant.schema.gate import Judgement
from titrant.schema.min_cell import without_small_groups
from titrant.schema.plan import CandidateSearch, Decision
from titrant.schema.values.canonical import canonical_json, plain
from titrant.schema.values.text import block, code, inline, printable, row
from titrant.schema.values.units import MIN_CELL

if TYPE_CHECKING:
    from jinja2 import Environment


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


@dataclass(frozen=True)
class Page:
    """A whole report, ready to be laid out; nothing in it is escaped yet but the interval pictures."""

    record: Record
    title: str
    headline: Headline
    stories: tuple[Story, ...]
    others: tuple[Judged, ...]  # judged candidates that no story is about
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
        advice=advice(record, leads),
        ladder=ladder_rows(record.run.ladder),
        paths=search_paths(record, candidates),
        candidates=candidate_rows(record, candidates, leads),
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
    )


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
        gains=gain_rows(lead.record.parts, lead.planned.method, reduced_words(record, lead.planned)),
        ablation=ablation(record, search, lead, shown_candidates(record)),
        contract=contract,
        predicted=predicted_sentence(record, contract),
        batch=batch_sentence(lead.id, seen) if (seen := record.values.invariance.get(lead.id)) else "",
        changes=class_changes(lead.id, answers, least) if answers and answers.classes else None,
        metrics=slice_table(record.values.metrics.get(lead.id, ())),
        usage=usage(record, search, lead) if lead.released else None,
    )


TEMPLATES = Path(__file__).parent / "templates"


def html_text(page: Page) -> str:
    """Return the page as text."""
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    template = _html_environment().get_template("report.html.jinja")
    return template.render(page=page, css=Markup(css), pictures=pictures(page.record, page.paths), graph=_graph(page))


def _graph(page: Page) -> Markup:
    tones = {name: outcome(candidate)[2] for name, candidate in shown_candidates(page.record).items()}
    return Markup(graph_svg(lay_out(page.record.plan), {row.id: row for row in page.steps}, tones))


@cache
def _html_environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A picture is SVG of ours, in which every name is already escaped.
    environment.filters |= {"picture": Markup, "fraction": fraction, "cases": cases, "short": short, "place": place}
    return environment


def markdown_text(page: Page) -> str:
    """Return the report as text."""
    text = _markdown_environment().get_template("report.md.jinja").render(page=page)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@cache
def _markdown_environment() -> "Environment":
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


FORMAT = 1


def json_text(page: Page, record: Mapping[str, Any]) -> str:
    """Write canonical JSON: {"format", "summary", "record"}."""
    return canonical_json({"format": FORMAT, "summary": summary(page), "record": record}) + "\n"


def summary(page: Page) -> dict[str, Any]:
    """Return what a program asks first: verdict, exit code, what is released, how every gate was judged."""
    run = page.record.run
    return {
        "name": page.title,
        "verdict": run.verdict,
        "exit": run.exit,
        "released": list(run.released),
        "headline": asdict(page.headline),
        "searches": [_story_values(story) for story in page.stories],
        "advice": list(page.advice),
    }


def _story_values(story: Story) -> dict[str, Any]:
    contract = story.contract
    rows = contract.rows if contract else ()
    return {
        "candidate": story.lead.id,
        "format": story.lead.planned.format,
        "released": story.lead.released,
        "file": story.usage.file if story.usage else None,
        "savings": [
            {name: getattr(row, name) for name in ("name", "before", "after", "words", "predicted")}
            for row in story.savings
        ],
        "gains": [
            {name: getattr(row, name) for name in ("name", "files", "what", "speed", "size")} for row in story.gains
        ],
        **({"ablation": [plain(row) for row in story.ablation]} if story.ablation else {}),
        "verdict": contract.verdict if contract else None,
        "gates": [{"gate": row.margin.gate, "verdict": row.verdict, "left": row.margin.left} for row in rows],
        "predicted": story.predicted,
        "weakest": contract.weakest.gate if contract and contract.weakest else None,
    }


def _without_small_groups(record: Record, least: int) -> Record:
    def shown(judgement: Judgement | None) -> Judgement | None:
        return None if judgement is None else without_small_groups(record.plan.contract, judgement, least)

    candidates = tuple(replace(item, judgement=shown(item.judgement)) for item in record.run.candidates)
    metrics = {name: without_small_slices(parts, least) for name, parts in record.values.metrics.items()}
    run = replace(record.run, candidates=candidates, original=shown(record.run.original))
    return replace(record, run=run, values=replace(record.values, metrics=metrics))


def _as_shown(value: Mapping[str, Any], record: Record, least: int) -> dict[str, Any]:
    """Return a record's JSON with `record`'s judgements and metrics, and tables of decisions as the page has them."""
    run = dict(value["run"]) | {"candidates": plain(record.run.candidates), "original": plain(record.run.original)}
    answers = {
        name: plain(without_small_cells(counts, least).answers) for name, counts in record.values.answers.items()
    }
    shown = {"answers": answers, "metrics": plain(record.values.metrics)}
    values = dict(value.get("values") or {}) | {name: table for name, table in shown.items() if table}
    return {**value, "run": run, "values": values}


def write_report(record: Mapping[str, Any], folder: Path, *, min_cell: int = MIN_CELL) -> None:
    """Write report.html, report.md and report.json of a record into a folder that exists.

    None of them shows groups or cells of fewer than `min_cell` cases. The same record always gives the same bytes.
    Raises StepError X500 when it is not a run record.
    """
    read = _without_small_groups(read_record(record), min_cell)
    shown = page(read, min_cell)
    files = {
        "report.html": html_text(shown),
        "report.md": markdown_text(shown),
        "report.json": json_text(shown, _as_shown(record, read, min_cell)),
    }
    for name, text in files.items():
        (folder / name).write_text(printable(text), encoding="utf-8", newline="\n")

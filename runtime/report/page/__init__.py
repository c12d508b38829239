"""Write a run's report: an HTML page, Markdown and JSON.

The HTML page needs nothing else: no network and no fonts. Its script sorts and filters tables, and nothing needs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from titrant.runtime.contract.statistics.reliability import without_small_bins
from titrant.runtime.page.write import ASSETS, as_cell, page_script, page_style, script_digest, template_environment
from titrant.runtime.report.candidates import outcome, shown_candidates
from titrant.runtime.report.contract import symbol_of, tone_of
from titrant.runtime.report.page.gather import Page, page
from titrant.runtime.report.page.graph import graph_svg, lay_out
from titrant.runtime.report.page.markdown import markdown_text
from titrant.runtime.report.page.pictures import pictures
from titrant.runtime.report.page.summary import json_text
from titrant.runtime.report.record_view import Record, cases, fraction, place, read_record, short
from titrant.runtime.report.slices import without_small_slices
from titrant.runtime.report.small_cells import without_small_cells
from titrant.schema.gate import Judgement
from titrant.schema.min_cell import without_small_groups
from titrant.schema.values.canonical import plain
from titrant.schema.values.text import printable
from titrant.schema.values.units import MIN_CELL

if TYPE_CHECKING:
    from jinja2 import Environment, Template

TEMPLATES = Path(__file__).parents[1] / "templates"


def template(name: str) -> "Template":
    """Return a template of a page; what is put into it is escaped."""
    return _html_environment().get_template(name)


def html_text(page: Page) -> str:
    """Return the page as text."""
    return template("report.html.jinja").render(
        page=page,
        css=page_style(),
        script=page_script(),
        script_digest=script_digest(),
        pictures=pictures(page.record, page.quality, page.paths, tuple(story.lead.id for story in page.stories)),
        graph=_graph(page),
    )


def _graph(page: Page) -> Markup:
    tones = {name: outcome(candidate)[2] for name, candidate in shown_candidates(page.record).items()}
    return Markup(graph_svg(lay_out(page.record.plan), {row.id: row for row in page.steps}, tones))


@cache
def _html_environment() -> "Environment":
    environment = template_environment((TEMPLATES, ASSETS))
    # A picture is SVG of ours, in which every name is already escaped.
    environment.filters |= {
        "picture": Markup,
        "cell": as_cell,
        "fraction": fraction,
        "cases": cases,
        "short": short,
        "place": place,
    }
    environment.globals |= {"contract_tone": tone_of, "contract_symbol": symbol_of}
    return environment


def _without_small_groups(record: Record, least: int) -> Record:
    def shown(judgement: Judgement | None) -> Judgement | None:
        return None if judgement is None else without_small_groups(record.plan.contract, judgement, least)

    candidates = tuple(replace(item, judgement=shown(item.judgement)) for item in record.run.candidates)
    metrics = {name: without_small_slices(parts, least) for name, parts in record.values.metrics.items()}
    bins = {name: without_small_bins(value, least) for name, value in record.values.reliability.items()}
    run = replace(record.run, candidates=candidates, original=shown(record.run.original))
    return replace(record, run=run, values=replace(record.values, metrics=metrics, reliability=bins))


def _as_shown(value: Mapping[str, Any], record: Record, least: int) -> dict[str, Any]:
    """Return a record's JSON with `record`'s judgements and metrics, and tables of decisions as the page has them."""
    run = dict(value["run"]) | {"candidates": plain(record.run.candidates), "original": plain(record.run.original)}
    answers = {
        name: plain(without_small_cells(counts, least).answers) for name, counts in record.values.answers.items()
    }
    metrics, bins = plain(record.values.metrics), plain(record.values.reliability)
    shown = {"answers": answers, "metrics": metrics, "reliability": bins}
    values = dict(value.get("values") or {}) | {name: table for name, table in shown.items() if table}
    return {**value, "run": run, "values": values}


FORMATS = ("html", "md", "json")


def write_report(
    record: Mapping[str, Any], folder: Path, *, min_cell: int = MIN_CELL, formats: Sequence[str] = FORMATS
) -> None:
    """Write report.html, report.md and report.json of a record, or some of them, into a folder that exists.

    None of them shows groups or cells of fewer than `min_cell` cases. The same record always gives the same bytes.
    Raises StepError X500 when it is not a run record.
    """
    read = _without_small_groups(read_record(record), min_cell)
    shown = page(read, min_cell)
    writers = {
        "html": lambda: html_text(shown),
        "md": lambda: markdown_text(shown),
        "json": lambda: json_text(shown, _as_shown(record, read, min_cell)),
    }
    for name in formats:
        (folder / f"report.{name}").write_text(printable(writers[name]()), encoding="utf-8", newline="\n")

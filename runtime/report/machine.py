"""The report for machines: a summary beside the whole record, as canonical JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from titrant.runtime.report.page import Page, Story
from titrant.schema.canonical import canonical_json

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
        "searches": [_story(story) for story in page.stories],
        "advice": list(page.advice),
    }


def _story(story: Story) -> dict[str, Any]:
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
        "verdict": contract.verdict if contract else None,
        "gates": [{"gate": row.margin.gate, "verdict": row.verdict, "left": row.margin.left} for row in rows],
        "weakest": contract.weakest.gate if contract and contract.weakest else None,
    }

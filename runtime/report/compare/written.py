"""Write a comparison of runs: as an HTML page, as Markdown and as JSON."""

from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from titrant.runtime.charts.scatter import scatter_svg
from titrant.runtime.page.write import page_style
from titrant.runtime.report.compare.runs import ComparedDecision, ComparedGate, ComparedRun, RunComparison
from titrant.runtime.report.page import template
from titrant.runtime.report.page.summary import closed_schema
from titrant.schema.values.canonical import canonical_json, plain
from titrant.schema.values.text import inline, row


def comparison_html(compared: RunComparison) -> str:
    """Return the page as text; it needs no other file, no network and no script."""
    chart = Markup("" if compared.chart is None else scatter_svg(compared.chart, "runs-chart"))
    return template("compare.html.jinja").render(compared=compared, css=page_style(), chart=chart, rows=ROWS)


@dataclass(frozen=True)
class ComparedPoint:
    """One run in the chart: seconds of a batch, or their share of the original's where the processors differ."""

    name: str
    x: float
    quality: float
    chosen: bool


@dataclass(frozen=True)
class ComparisonFile:
    """What stands in the JSON file; `format` rises when what stands in it changes its name or its meaning."""

    format: Literal[1]
    runs: tuple[ComparedRun, ...]
    gates: tuple[ComparedGate, ...]
    decisions: tuple[ComparedDecision, ...]
    notes: tuple[str, ...]
    points: tuple[ComparedPoint, ...]


def comparison_json(compared: RunComparison) -> str:
    """Write canonical JSON, as `ComparisonFile` has it."""
    marks = compared.chart.marks if compared.chart else ()
    points = tuple(ComparedPoint(mark.name, mark.x, mark.y, mark.chosen) for mark in marks)
    file = ComparisonFile(1, compared.runs, compared.gates, compared.decisions, compared.notes, points)
    return canonical_json(plain(file)) + "\n"


def comparison_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a comparison, every object closed."""
    return closed_schema(ComparisonFile, "titrant-comparison-1", "a comparison of titrant runs")


# What stands in the table of runs, a line a figure.
ROWS = {
    "verdict": "verdict",
    "released or judged": "candidate",
    "became": "became",
    "size": "size",
    "latency p50": "latency",
    "speed against its original": "speed",
    "main metric": "metric",
    "processor": "processor",
}
_MOST_GATES = 25


def comparison_markdown(compared: RunComparison) -> str:
    """Return the comparison as Markdown: every run a column; of many gates those that differ."""
    names = [inline(run.run) for run in compared.runs]
    rule = f"|---|{'---|' * len(names)}"
    lines = [f"# {len(names)} runs compared", "", *(f"- {inline(note)}" for note in compared.notes), ""]
    lines += [row(["", *names]), rule]
    for title, name in ROWS.items():
        said = [getattr(run, name) for run in compared.runs]
        if name == "verdict":
            said = [f"{run.symbol} {run.verdict}" for run in compared.runs]
        lines.append(row([title, *map(inline, said)]))
    if compared.gates:
        lines += ["", "## Gates", "", row(["gate", *names]), rule]
        for gate in compared.gates[:_MOST_GATES]:
            about = f"{inline(gate.title)}, {inline(gate.slice)}, {inline(gate.threshold)}"
            cells = [f"{cell.symbol} {inline(cell.verdict)} {inline(cell.words)}".strip() for cell in gate.cells]
            lines.append(row([about, *cells]))
        if len(compared.gates) > _MOST_GATES:
            lines += ["", f"and {len(compared.gates) - _MOST_GATES} more gates."]
    if compared.decisions:
        lines += ["", "## Decided otherwise", "", row(["subject", *names]), rule]
        lines += [row([inline(each.subject), *map(inline, each.chosen)]) for each in compared.decisions]
    return "\n".join(lines) + "\n"

"""Write a comparison of runs: as an HTML page, as Markdown and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from titrant.runtime.report.charts.scatter import scatter_svg
from titrant.runtime.report.compare.runs import RunComparison
from titrant.runtime.report.page import style, template
from titrant.schema.values.canonical import canonical_json, plain
from titrant.schema.values.text import inline, row

FORMAT = 1


def comparison_html(compared: RunComparison) -> str:
    """Return the page as text; it needs no other file, no network and no script."""
    chart = Markup("" if compared.chart is None else scatter_svg(compared.chart, "runs-chart"))
    return template("compare.html.jinja").render(compared=compared, css=style(), chart=chart, rows=ROWS)


def comparison_json(compared: RunComparison) -> str:
    """Write canonical JSON: {"format", "runs", "gates", "decisions", "notes", "points"}."""
    return canonical_json(comparison_value(compared)) + "\n"


def comparison_value(compared: RunComparison) -> Mapping[str, Any]:
    """Return what stands in the JSON file."""
    marks = compared.chart.marks if compared.chart else ()
    return {
        "format": FORMAT,
        "runs": [asdict(run) for run in compared.runs],
        "gates": plain(compared.gates),
        "decisions": plain(compared.decisions),
        "notes": list(compared.notes),
        "points": [{"name": mark.name, "x": mark.x, "quality": mark.y, "chosen": mark.chosen} for mark in marks],
    }


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

"""A run's outcome as text for people: verdict, gates, what was released, where the report is."""

from pathlib import Path

from titrant.layout import wrapped
from titrant.planned import Planned
from titrant.schema.gate import GateResult
from titrant.schema.record import CandidateRecord, RunRecord
from titrant.schema.units import counted, format_size, format_time

SYMBOLS = {"PASS": "✓", "FAIL": "✗", "INCONCLUSIVE": "?"}


def up_to_date_text(record: RunRecord) -> str:
    """Say in one sentence that nothing ran, and what the earlier run answered."""
    return (
        f"{record.name}: up to date, nothing executed: {counted(record.reused, 'step')} reused from {record.run} · "
        f"{headline(record)}\nreport: {_report(record)}"
    )


def headline(record: RunRecord) -> str:
    """Put the verdict into words."""
    released = ", ".join(record.released)
    if record.exit == 0 and record.verdict == "PASS":
        return f"PASS: released {released}; every gate of the contract is proven"
    if record.exit == 0:
        return f"{record.verdict}: released {released}; not every gate is proven"
    return f"{record.verdict}: nothing released; keep the original model"


def verdict_text(record: RunRecord, planned: Planned) -> str:
    """Write the outcome of a run."""
    lines = [f"{record.name}: {headline(record)}"]
    for candidate in record.candidates:
        lines.append(wrapped(f"{candidate.candidate}: {candidate.status} · {candidate.because}", "  ", "    "))
        lines += _figures(candidate)
        if candidate.judgement is not None:
            lines += [wrapped(_gate(result), "    ", " " * 8) for result in candidate.judgement.results]
    lines.append(f"{counted(record.executed, 'step')} executed, {record.reused} reused, {format_time(record.seconds)}")
    lines.append(f"report: {_report(record)}")
    return "\n".join(lines)


def _figures(candidate: CandidateRecord) -> list[str]:
    parts = []
    if candidate.size is not None:
        parts.append(format_size(candidate.size))
    if "latency_p50" in candidate.figures:
        parts.append(f"p50 {format_time(candidate.figures['latency_p50'])}")
    return [f"    {' · '.join(parts)}"] if parts else []


def _gate(result: GateResult) -> str:
    return f"{SYMBOLS[result.verdict]} {result.verdict:<12} {result.gate}: {result.reason}"


def _report(record: RunRecord) -> Path:
    from titrant.verbs.facts import home_folder

    return home_folder() / "runs" / record.run / "report.html"

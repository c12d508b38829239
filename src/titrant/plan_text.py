"""A plan as text for people: decisions, steps, contract, totals."""

import textwrap
from collections.abc import Iterable

from titrant.plan_rows import (
    CandidateRow,
    Forecast,
    GateRow,
    StepRow,
    candidate_rows,
    gate_rows,
    released_text,
    step_rows,
    too_few,
    totals_parts,
)
from titrant.schema.coverage import Coverage, LayerGroup
from titrant.schema.plan import Decision, Plan, plan_digest

WIDTH = 100
# The basis of a figure, behind it.
LETTERS = {"counted": "c", "measured": "m", "modelled": "f", "guess": "g", "": " "}
LEGEND = "c counted · m measured here · f modelled by a formula · g guess"
# Layers of one group that are named; the others are counted.
NAMED_LAYERS = 4


def plan_text(
    plan: Plan,
    forecast: Forecast | None = None,
    *,
    coverage: tuple[Coverage, ...] = (),
    gone: Iterable[tuple[str, str]] = (),
    verbose: bool = False,
) -> str:
    """Write the whole plan; `forecast` maps a step to its symbol (= + ~ ? !) and the reason for it.

    `gone` are steps (id, operator) of the last run that are no longer planned. `verbose` adds why each step is there,
    and `coverage`: which layers each method would touch.
    """
    machine = plan.hardware
    instructions = ", ".join(machine.instructions) or "instruction sets unknown"
    known = forecast or {}
    blocks = [
        f"{plan.name} · plan {plan_digest(plan)[:8]}\n"
        + wrapped(f"for {machine.cpu or machine.machine} · {machine.cores} cores · {instructions}", "", "  "),
        "decisions\n" + "\n".join(decision_text(decision) for decision in plan.decisions),
        *([coverage_text(coverage)] if verbose and coverage else []),
        "steps\n" + "\n".join([*_steps(step_rows(plan, known), verbose), *(f"  - {id} {name}" for id, name in gone)]),
        "candidates\n" + "\n".join(_candidates(candidate_rows(plan))),
        f"contract · confidence {plan.contract.confidence} · {plan.contract.require}\n"
        + "\n".join(_gate(row) for row in gate_rows(plan)),
    ]
    if plan.warnings:
        blocks.append("warnings\n" + "\n".join(wrapped(f"! {warning}", "  ", "    ") for warning in plan.warnings))
    blocks.append(wrapped(totals(plan, known), "", "  ") + "\n" + wrapped(released_text(plan), "", "  "))
    return "\n\n".join(blocks) + "\n"


def wrapped(text: str, first: str, rest: str) -> str:
    """Fill a line to the console's width; `first` and `rest` are the indents."""
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def decision_text(decision: Decision) -> str:
    """Write one decision: asked → chosen, why, and what was rejected."""
    asked = f"{decision.asked} → " if decision.asked not in ("", decision.chosen) else ""
    place = f" [{decision.where}]" if decision.where else ""
    lines = [wrapped(f"{decision.subject}: {asked}{decision.chosen}", "  ", "      ")]
    lines.append(wrapped(f"{decision.because} ({decision.rule}){place}", "      ", "      "))
    lines += [
        wrapped(f"not {rejected.value}: {rejected.because}", "      ", "        ") for rejected in decision.rejected
    ]
    return "\n".join(lines)


def coverage_text(coverage: tuple[Coverage, ...]) -> str:
    """Write which layers each method would quantize, and why it leaves the others."""
    lines = ["coverage · layers with weights that each method would quantize"]
    for one in coverage:
        layers = sum(len(group.layers) for group in one.groups)
        touched = sum(len(group.layers) for group in one.groups if not group.because)
        made = "" if one.candidate else " · no candidate, see decisions"
        lines.append(f"  {one.method}: {touched} of {layers} layers, {one.share:.1%} of the weights{made}")
        lines += [wrapped(group_text(group), "      ", "        ") for group in one.groups]
    return "\n".join(lines)


def group_text(group: LayerGroup) -> str:
    """Write what becomes of some layers of one type; of many only the first are named."""
    names = ", ".join(group.layers[:NAMED_LAYERS])
    more = len(group.layers) - NAMED_LAYERS
    named = f"{group.type} ({names}{f' and {more} more' if more > 0 else ''})"
    return f"not {named}: {group.because}" if group.because else named


def _steps(rows: tuple[StepRow, ...], verbose: bool) -> list[str]:
    name = min(max((len(row.id) for row in rows), default=0), 40)
    operator = max((len(row.operator) for row in rows), default=0)
    lines = [f"    {'':<{name}}  {'':<{operator}}  {'time':>8}   {'peak':>10}   {'output':>10}"]
    for row in rows:
        figures = zip((f"{row.seconds:>8}", f"{row.peak:>10}", f"{row.output:>10}"), row.bases, strict=True)
        told = " ".join(f"{figure} {LETTERS[basis]}" for figure, basis in figures)
        lines.append(f"  {row.symbol} {row.id:<{name}}  {row.operator:<{operator}}  {told}".rstrip())
        if row.symbol_because and row.symbol in "~!":
            lines.append(wrapped(row.symbol_because, "      ", "      "))
        if verbose and row.because:
            lines.append(wrapped(row.because, "      ", "      "))
    return [*lines, f"    {LEGEND}"]


def _candidates(rows: tuple[CandidateRow, ...]) -> list[str]:
    name = max((len(row.id) for row in rows), default=0)
    engine = max((len(f"{row.engine}, {row.format}") for row in rows), default=0)
    lines = [f"    {'':<{name}}  {'':<{engine}}  {'size':>10} {'latency':>10} {'memory':>10}"]
    for row in rows:
        runs = f"{row.engine}, {row.format}"
        lines.append(f"    {row.id:<{name}}  {runs:<{engine}}  {row.size:>10} {row.latency:>10} {row.memory:>10}")
    return lines


def _gate(row: GateRow) -> str:
    notes = []
    if row.needed:
        assumption = f", {row.note}" if row.note else ""
        short = " (too few)" if too_few(row) else ""
        notes.append(f"needs {row.needed} cases for 80 % power{assumption}; has {row.available or '?'}{short}")
    elif row.note:
        notes.append(row.note)
    lines = [wrapped(f"{row.id}: {row.asks} · {row.origin}", "  ", "      ")]
    return "\n".join([*lines, *(wrapped(note, "      ", "      ") for note in notes)])


def totals(plan: Plan, forecast: Forecast | None) -> str:
    """Write one line: how many steps will run, are reused or wait for the search, and what is predicted."""
    return " · ".join(totals_parts(plan, forecast or {}))

"""A plan as text for people: decisions, steps, contract, totals."""

from collections.abc import Iterable

from titrant.layout import TIED, width, wrapped
from titrant.plan_rows import (
    SYMBOLS,
    CandidateRow,
    Forecast,
    GateRow,
    StepRow,
    candidate_rows,
    follows,
    gate_rows,
    released_text,
    step_rows,
    too_few,
    totals_parts,
)
from titrant.schema.coverage import Coverage, LayerGroup
from titrant.schema.facts import HardwareIdentity
from titrant.schema.plan import Decision, Plan, plan_digest
from titrant.schema.units import counted, format_size

# The basis of a figure, behind it.
LETTERS = {"counted": "c", "measured": "m", "modelled": "f", "guess": "g", "": " "}
BASES = {"c": "counted", "m": "measured here", "f": "modelled by a formula", "g": "guess"}
# How wide a step's three figures are, with their letters.
_FIGURES = 35
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
    known = forecast or {}
    blocks = [
        f"{plan.name} · plan {plan_digest(plan)[:8]}\n" + wrapped(f"for {machine_words(plan.hardware)}", "", "  "),
        "decisions\n" + "\n".join(decision_text(decision) for decision in plan.decisions),
        *([coverage_text(coverage)] if verbose and coverage else []),
        "steps\n" + "\n".join(_steps(step_rows(plan, known), tuple(gone), verbose)),
        "candidates\n" + "\n".join(_candidates(candidate_rows(plan))),
        f"contract · confidence {plan.contract.confidence} · require: {plan.contract.require}\n"
        + "\n".join(_gate(row) for row in gate_rows(plan)),
    ]
    if plan.warnings:
        blocks.append("warnings\n" + "\n".join(wrapped(f"! {warning}", "  ", "    ") for warning in plan.warnings))
    blocks.append(wrapped(totals(plan, known), "", "  ") + "\n" + wrapped(released_text(plan), "", "  "))
    return "\n\n".join(blocks) + "\n"


def machine_words(machine: HardwareIdentity) -> str:
    """Name what decisions and predictions are made for: processor, cores, memory, accelerators, instruction sets."""
    names = [gpu.name for gpu in machine.gpus]
    gpus = [f"{names.count(name)} × {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)]
    memory = [] if machine.memory_bytes is None else [format_size(machine.memory_bytes)]
    instructions = ", ".join(machine.instructions) or "instruction sets unknown"
    return " · ".join([machine.cpu or machine.machine, counted(machine.cores, "core"), *memory, *gpus, instructions])


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
        said = f"{one.method}: {touched} of {counted(layers, 'layer')}, {one.share:.1%} of the weights{made}"
        lines.append(wrapped(said, "  ", "      "))
        lines += [wrapped(group_text(group), "      ", "        ") for group in one.groups]
    return "\n".join(lines)


def group_text(group: LayerGroup) -> str:
    """Write what becomes of some layers of one type; of many only the first are named."""
    names = ", ".join(group.layers[:NAMED_LAYERS])
    more = len(group.layers) - NAMED_LAYERS
    named = f"{group.type} ({names}{f' and {more} more' if more > 0 else ''})"
    return f"not {named}: {group.because}" if group.because else named


def _steps(rows: tuple[StepRow, ...], gone: tuple[tuple[str, str], ...], verbose: bool) -> list[str]:
    name = min(max((len(row.id) for row in rows), default=0), 40)
    operator = max((len(row.operator) for row in rows), default=0)
    # In a narrow terminal a step's id has to say what it does: figures that do not stand in columns say nothing.
    wide = 4 + name + 2 + operator + 2 + _FIGURES <= width()
    head = f"    {'':<{name}}  " + f"{'':<{operator}}  " * wide
    lines = [f"{head}{'time':>8}   {'peak':>10}   {'output':>10}"]
    for row in rows:
        said = f"{row.operator:<{operator}}  " * wide
        lines.append(f"  {row.symbol} {row.id:<{name}}  {said}{_figures(row)}".rstrip())
        if row.symbol_because and row.symbol in "~!" and (verbose or not follows(row)):
            lines.append(wrapped(row.symbol_because, "      ", "      "))
        if verbose and (row.because or not wide):
            lines.append(wrapped(row.because if wide else f"{row.operator}: {row.because}", "      ", "      "))
    lines += [f"  - {id:<{name}}  {operator_name}".rstrip() for id, operator_name in gone]
    return [*lines, *_legend(rows, gone=bool(gone))]


def _figures(row: StepRow) -> str:
    figures = zip((f"{row.seconds:>8}", f"{row.peak:>10}", f"{row.output:>10}"), row.bases, strict=True)
    return " ".join(f"{figure} {LETTERS[basis]}" for figure, basis in figures)


def _legend(rows: tuple[StepRow, ...], *, gone: bool) -> list[str]:
    """Explain the symbols and letters that stand above."""
    symbols = {row.symbol for row in rows} | ({"-"} if gone else set())
    letters = {LETTERS[basis] for row in rows for basis in row.bases}
    told = (
        [f"{symbol}{TIED}{words}" for symbol, words in SYMBOLS.items() if symbol in symbols],
        [f"{letter}{TIED}{words}" for letter, words in BASES.items() if letter in letters],
    )
    return [wrapped(" · ".join(parts), "    ", "    ") for parts in told if parts]


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
        there = f"has {row.available or '?'}" + (" (too few)" if too_few(row) else "")
        notes.append(f"needs {counted(int(row.needed), 'case')} for 80 % power{assumption}; {there}")
    elif row.note:
        notes.append(row.note)
    lines = [wrapped(f"{row.id}: {row.asks} · {row.origin}", "  ", "      ")]
    return "\n".join([*lines, *(wrapped(note, "      ", "      ") for note in notes)])


def totals(plan: Plan, forecast: Forecast | None) -> str:
    """Write one line: how many steps will run, are reused or wait for the search, and what is predicted."""
    return " · ".join(totals_parts(plan, forecast or {}))

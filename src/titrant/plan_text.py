"""A plan as text for people: decisions, steps, contract, totals."""

import textwrap
from collections.abc import Iterable, Mapping

from titrant.schema.gate import Gate
from titrant.schema.plan import Decision, Plan, Prediction, Step, plan_digest
from titrant.schema.units import format_size, format_time

WIDTH = 100
COMPARISONS = {
    "at_least": "≥ {}",
    "at_most": "≤ {}",
    "retention": "≥ {} of the original",
    "drop_at_most": "drops ≤ {}",
    "rise_at_most": "rises ≤ {}",
    "ratio_at_least": "ratio ≥ {}",
}


def plan_text(plan: Plan, forecast: Mapping[str, tuple[str, str]] | None = None) -> str:
    """Write the whole plan; `forecast` maps a step to its symbol (= + ~ ? !) and the reason for it."""
    machine = plan.hardware
    instructions = ", ".join(machine.instructions) or "instruction sets unknown"
    blocks = [
        f"{plan.name} · plan {plan_digest(plan)[:8]}\n"
        f"for {machine.cpu or machine.machine} · {machine.cores} cores · {instructions}",
        "decisions\n" + "\n".join(decision_text(decision) for decision in plan.decisions),
        "steps\n" + "\n".join(_steps(plan.steps, forecast or {})),
        f"contract · confidence {plan.contract.confidence} · {plan.contract.require}\n"
        + "\n".join(_gate(gate) for gate in plan.contract.gates),
    ]
    if plan.warnings:
        blocks.append("warnings\n" + "\n".join(wrapped(f"! {warning}", "  ", "    ") for warning in plan.warnings))
    blocks.append(totals(plan, forecast))
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


def _steps(steps: Iterable[Step], forecast: Mapping[str, tuple[str, str]]) -> list[str]:
    rows = []
    for step in steps:
        symbol, because = forecast.get(step.id, ("+" if step.stage != "judge" else "?", ""))
        rows.append((symbol, step.id, step.operator, *_cost(step.prediction), because))
    name = min(max((len(row[1]) for row in rows), default=0), 40)
    operator = max((len(row[2]) for row in rows), default=0)
    lines = []
    for symbol, step_id, operator_name, seconds, peak, size, basis, because in rows:
        line = f"  {symbol} {step_id:<{name}}  {operator_name:<{operator}}  {seconds:>8} {peak:>10} {size:>10}  {basis}"
        lines.append(line.rstrip())
        if because and symbol in "~!":
            lines.append(wrapped(because, "      ", "      "))
    return [f"    {'':<{name}}  {'':<{operator}}  {'time':>8} {'peak':>10} {'output':>10}  basis", *lines]


def _cost(prediction: Prediction) -> tuple[str, str, str, str]:
    unknown = "?"
    seconds = unknown if prediction.seconds is None else format_time(prediction.seconds)
    peak = unknown if prediction.peak_bytes is None else format_size(prediction.peak_bytes)
    size = unknown if prediction.output_bytes is None else format_size(prediction.output_bytes)
    known = (prediction.seconds, prediction.peak_bytes, prediction.output_bytes) != (None, None, None)
    return seconds, peak, size, prediction.basis if known else ""


def threshold_text(gate: Gate) -> str:
    """Write a gate's threshold with its unit and comparison."""
    if gate.unit == "s":
        value = format_time(gate.threshold)
    elif gate.unit == "B":
        value = format_size(int(gate.threshold))
    else:
        value = f"{gate.threshold:g}" + (f" {gate.unit}" if gate.unit else "")
    return COMPARISONS[gate.comparison].format(value)


def _gate(gate: Gate) -> str:
    where = "" if gate.slice == "all" else f" on {gate.slice}"
    line = f"  {gate.id}: {gate.metric}{where} {threshold_text(gate)} · {gate.origin}"
    notes = []
    if gate.test == "not_assessable":
        notes.append(f"not assessable: {gate.assumption}")
    elif gate.needed_cases is not None:
        have = "?" if gate.available_cases is None else str(gate.available_cases)
        short = gate.available_cases is not None and gate.available_cases < gate.needed_cases
        assumption = f", {gate.assumption}" if gate.assumption else ""
        notes.append(
            f"needs {gate.needed_cases} cases for 80 % power{assumption}; has {have}{' (too few)' if short else ''}"
        )
    return "\n".join([wrapped(line.strip(), "  ", "      "), *(wrapped(note, "      ", "      ") for note in notes)])


def totals(plan: Plan, forecast: Mapping[str, tuple[str, str]] | None) -> str:
    """Write one line: how many steps will run, are reused or wait for the search, and what is predicted."""
    symbols = [(forecast or {}).get(step.id, ("+" if step.stage != "judge" else "?", ""))[0] for step in plan.steps]
    run = sum(symbol in "+~" for symbol in symbols)
    parts = [f"{len(symbols)} steps: {run} to run"]
    if symbols.count("="):
        parts.append(f"{symbols.count('=')} reused")
    if symbols.count("?"):
        parts.append(f"{symbols.count('?')} only if the search asks")
    running = [step for step, symbol in zip(plan.steps, symbols, strict=True) if symbol in "+~?"]
    seconds = [step.prediction.seconds for step in running if step.prediction.seconds is not None]
    peaks = [step.prediction.peak_bytes for step in running if step.prediction.peak_bytes is not None]
    if seconds:
        unknown = len(running) - len(seconds)
        parts.append(f"predicted {format_time(sum(seconds))}" + (f" and {unknown} unknown" if unknown else ""))
    if peaks:
        parts.append(f"peak {format_size(max(peaks))}")
    return " · ".join(parts)

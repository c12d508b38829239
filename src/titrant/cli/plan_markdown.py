"""A plan as Markdown, to be put into a pull request."""

from collections.abc import Iterable, Iterator, Sequence

from titrant.cli.plan_rows import (
    SYMBOLS,
    PlanCandidateRow,
    PlanGateRow,
    PlanStepRow,
    Previews,
    candidate_rows,
    contract_words,
    control_lines,
    gate_rows,
    layers_text,
    machine_words,
    other_methods,
    power_line,
    rejected_rows,
    released_text,
    step_rows,
    totals_parts,
    waiting_words,
)
from titrant.schema.plan import Coverage, Decision, Plan, plan_digest
from titrant.schema.values.text import code, inline
from titrant.schema.values.units import counted

_LEGEND = " · ".join(f"{code(symbol)} {words}" for symbol, words in SYMBOLS.items())


def plan_markdown(
    plan: Plan,
    previews: Previews | None = None,
    *,
    coverage: tuple[Coverage, ...] = (),
    gone: Iterable[tuple[str, str]] = (),
    elsewhere: str = "",
) -> str:
    """Write the plan for a reviewer: decisions, candidates, contract and totals in sight, steps and layers folded away.

    The same plan gives the same text. `previews` and `gone` are as for `plan_text`; `elsewhere` says that the plan is
    for a machine that is not at hand.
    """
    step_previews = previews or {}
    blocks = [
        f"## Plan of {code(plan.name)}",
        *([_quoted(elsewhere)] if elsewhere else []),
        f"{inline(' · '.join(totals_parts(plan, step_previews)))}  \n{inline(released_text(plan))}",
        "### Decisions",
        _table(("subject", "asked", "chosen", "because"), [_decision(decision) for decision in plan.decisions]),
        "### Candidates",
        _table(
            ("candidate", "runs in", "size", "latency", "memory", "speed over the original"),
            [_candidate(row) for row in candidate_rows(plan)],
        ),
        *(["\n".join(f"- {inline(line)}" for line in waiting_words(plan))] if waiting_words(plan) else []),
        f"### Contract\n\n{inline(' · '.join(contract_words(plan)))}",
        _table(("gate", "asks", "from", "cases needed", "cases there"), [_gate(row) for row in gate_rows(plan)]),
        *(["\n".join(f"- {inline(line)}" for line in control_lines(plan))] if control_lines(plan) else []),
        *([inline(power_line(plan))] if power_line(plan) else []),
        *(["### Warnings", "\n".join(f"- {inline(warning)}" for warning in plan.warnings)] if plan.warnings else []),
        _folded(counted(len(plan.steps), "step"), _steps(step_rows(plan, step_previews), gone)),
        *([_folded("Layers that each method would quantize", _coverage(coverage))] if coverage else []),
        _folded("What was rejected, and the machine", _details(plan)),
    ]
    return "\n\n".join(blocks) + "\n"


def _quoted(text: str) -> str:
    """Set each sentence on a line of its own; a line that is indented goes on with the one before."""
    return "\n".join(f"> {inline(line)}  " for line in text.replace("\n  ", " ").splitlines())


def _decision(decision: Decision) -> tuple[str, ...]:
    asked = decision.asked if decision.asked != decision.chosen else ""
    place = f" {code(decision.where)}" if decision.where else ""
    because = f"{inline(decision.because)} ({inline(decision.rule)}){place}"
    return code(decision.subject), inline(asked), inline(decision.chosen), because


def _candidate(row: PlanCandidateRow) -> tuple[str, ...]:
    return code(row.id), inline(f"{row.engine}, {row.format}"), row.size, row.latency, row.memory, inline(row.gain)


def _gate(row: PlanGateRow) -> tuple[str, ...]:
    there = f"{row.available} ⚠ too few" if row.too_few else row.available
    needed = f"{row.needed} ({inline(row.note)})" if row.needed and row.note else row.needed or inline(row.note)
    asks = f"{row.asks}; {row.waiver}" if row.waiver else row.asks
    return code(row.id), inline(asks), inline(row.origin), needed, there


def _steps(rows: tuple[PlanStepRow, ...], gone: Iterable[tuple[str, str]]) -> str:
    listed = [
        (code(row.symbol), code(row.id), code(row.operator), inline(row.symbol_because or row.because), row.seconds,
         row.peak, row.output, row.basis)
        for row in rows
    ]  # fmt: skip
    listed += [(code("-"), code(name), code(operator), "no longer planned", "", "", "", "") for name, operator in gone]
    head = ("", "step", "operator", "because", "time", "memory", "output", "basis")
    return f"{_LEGEND}\n\n{_table(head, listed)}"


def _coverage(coverage: tuple[Coverage, ...]) -> str:
    rows = []
    for covered in (covered for covered in coverage if covered.candidate):
        touched = [layers_text(group) for group in covered.groups if not group.because]
        left = [layers_text(group) for group in covered.groups if group.because]
        quantizes, leaves = (inline("; ".join(texts)) or "none" for texts in (touched, left))
        rows.append((code(covered.method), f"{covered.share:.1%}", quantizes, leaves))
    table = _table(("method", "of the weights", "quantizes", "leaves"), rows)
    others = other_methods(coverage)
    return f"{table}\n\n{inline(others)}" if others else table


def _details(plan: Plan) -> str:
    machine = plan.hardware
    lines = [
        f"- {code(decision.subject)}: not {inline(names)}: {inline(reason)}"
        for decision in plan.decisions
        for names, reason in rejected_rows(decision)
    ]
    packages = ", ".join(f"{name} {version}" for name, version in sorted(machine.packages.items()))
    lines += [
        f"- plan {code(plan_digest(plan))}",
        f"- {inline(machine_words(machine))}",
        f"- Python {inline(machine.python)}, {inline(packages)}",
    ]
    return "\n".join(lines)


def _folded(title: str, text: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(_lines(head, rows))


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"

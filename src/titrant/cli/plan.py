"""`titrant plan`: show or save the plan of a recipe, as text, Markdown or JSON."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.cli.console import TIED, width, wrapped
from titrant.cli.options import data_option, json_option, read_recipe, recipe_options
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
    group_text,
    machine_words,
    other_methods,
    power_line,
    rejected_rows,
    released_text,
    step_rows,
    totals_parts,
    waiting_words,
)
from titrant.schema.diagnostics.diagnostics import OK, OUT_OF_DATE
from titrant.schema.plan import Coverage, Decision, Plan, StepPreview, plan_digest
from titrant.schema.values.units import counted

if TYPE_CHECKING:
    from titrant.compiler.passes.passes import Change
    from titrant.schema.planned import Planned


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    data_option(parser)
    parser.add_argument("recipe", type=Path, metavar="RECIPE")
    parser.add_argument(
        "--hardware", metavar="PROFILE", help="plan for another machine: a shipped profile or a saved file"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="save the plan (.json) for `titrant run FILE`")
    shape = parser.add_mutually_exclusive_group()
    json_option(shape, "the plan")
    shape.add_argument("--md", action="store_true", help="the plan as Markdown, for a pull request")
    shape.add_argument("--trace", action="store_true", help="what each pass over the plan changed, after the plan")
    parser.add_argument("--exit-code", action="store_true", help="exit 6 when something would run")


def call(options: argparse.Namespace) -> int:
    """Show or save the plan of a recipe."""
    from titrant.api.plan import plan_and_preview as verb
    from titrant.api.planned import save
    from titrant.api.run import is_up_to_date

    hardware = None
    if options.hardware:
        from titrant.api.hardware import find_hardware

        hardware = find_hardware(options.hardware)
    changes: list[Change] = []
    coverage = bool(options.json or options.md or options.out or options.verbose)
    recipe = read_recipe(options)
    planned, seen = verb(recipe, hardware=hardware, trust=options.trust, trace=changes.append, coverage=coverage)
    previews = _previews(planned, seen.steps)
    if options.json:
        # Sorted, so that the same plan gives the same text.
        console.answer_json(_value(planned, previews), sort=True)
    elif options.md:
        console.answer(_markdown(planned, previews))
    else:
        console.answer(text_of(planned, previews, options))
    if options.trace:
        console.answer(f"\n{trace_text(tuple(changes))}")
    if options.out:
        save(planned, options.out)
        if not options.quiet:
            console.note(f"saved {options.out}; run it with: titrant run {options.out}")
    return OUT_OF_DATE if options.exit_code and not is_up_to_date(previews) else OK


def _previews(planned: "Planned", previews: "Previews") -> "Previews":
    """Say what each step would do; of a plan for another machine also which could not run on this one."""
    if planned.hardware.source != "detected":
        from titrant.api.plan import cannot_run_here
        from titrant.compiler.machine.detect import detect
        from titrant.runtime.store.home import home_folder

        unmet = cannot_run_here(planned, detect(home_folder()))
        return {**previews, **{step: StepPreview("!", lack) for step, lack in unmet.items()}}
    return previews


def _value(planned: "Planned", previews: "Previews") -> dict[str, object]:
    return {
        "plan": planned.plan,
        "digest": planned.digest,
        "planned_for": {"here": planned.hardware.source == "detected", "source": planned.hardware.source},
        "forecast": {step: [seen.symbol, seen.because] for step, seen in previews.items()},
        "coverage": planned.coverage,
    }


def _markdown(planned: "Planned", previews: "Previews") -> str:
    from titrant.api.plan import no_longer_planned
    from titrant.cli.hardware import elsewhere_text
    from titrant.cli.plan_markdown import plan_markdown
    from titrant.runtime.store.home import home_folder

    gone = no_longer_planned(planned, home_folder())
    elsewhere = elsewhere_text(planned.hardware)
    return plan_markdown(planned.plan, previews, coverage=planned.coverage, gone=gone, elsewhere=elsewhere)


def text_of(planned: "Planned", previews: "Previews", options: argparse.Namespace) -> str:
    """Write a plan for a person: one sentence where nothing would run, unless more is asked for."""
    from titrant.api.run import is_up_to_date
    from titrant.cli.hardware import elsewhere_text

    if is_up_to_date(previews) and not options.verbose:
        sentence = f"{planned.plan.name}: up to date, plan {planned.digest[:8]}: nothing would run"
        return "\n".join(filter(None, (sentence, elsewhere_text(planned.hardware))))
    from titrant.api.plan import no_longer_planned
    from titrant.runtime.store.home import home_folder

    gone = no_longer_planned(planned, home_folder())
    text = plan_text(planned.plan, previews, coverage=planned.coverage, gone=gone, verbose=options.verbose > 0)
    elsewhere = elsewhere_text(planned.hardware)
    return f"{elsewhere}\n\n{text}" if elsewhere else text


# The basis of a figure, behind it.
LETTERS = {"counted": "c", "measured": "m", "modelled": "f", "guess": "g", "": " "}
BASES = {"c": "counted", "m": "measured here", "f": "modelled by a formula", "g": "guess"}
# How wide a step's three figures are, with their letters.
_FIGURES = 35


def plan_text(
    plan: Plan,
    previews: Previews | None = None,
    *,
    coverage: tuple[Coverage, ...] = (),
    gone: Iterable[tuple[str, str]] = (),
    verbose: bool = False,
) -> str:
    """Write the whole plan; `previews` maps a step to its symbol (= + ~ ? !) and the reason for it.

    `gone` are steps (id, operator) of the last run that are no longer planned. `verbose` adds why each step is there,
    and `coverage`: which layers each method would touch.
    """
    symbols = previews or {}
    blocks = [
        f"{plan.name} · plan {plan_digest(plan)[:8]}\n" + wrapped(f"for {machine_words(plan.hardware)}", "", "  "),
        "decisions\n" + "\n".join(decision_text(decision) for decision in plan.decisions),
        *([coverage_text(coverage)] if verbose and coverage else []),
        "steps\n" + "\n".join(_steps(step_rows(plan, symbols, whole=verbose), tuple(gone), verbose)),
        "candidates\n" + "\n".join([*_candidates(candidate_rows(plan)), *_mending(plan)]),
        " · ".join(["contract", *contract_words(plan)])
        + "\n"
        + "\n".join(
            [
                *(_gate(row) for row in gate_rows(plan)),
                *(wrapped(line, "  ", "      ") for line in filter(None, (power_line(plan), *control_lines(plan)))),
            ]
        ),
    ]
    if plan.warnings:
        blocks.append("warnings\n" + "\n".join(wrapped(f"! {warning}", "  ", "    ") for warning in plan.warnings))
    blocks.append(wrapped(totals(plan, symbols), "", "  ") + "\n" + wrapped(released_text(plan), "", "  "))
    return "\n\n".join(blocks) + "\n"


def decision_text(decision: Decision, *, whole: bool = False) -> str:
    """Write one decision: asked → chosen, why, and what was rejected; `whole` as for `rejected_rows`."""
    asked = f"{decision.asked} → " if decision.asked not in ("", decision.chosen) else ""
    place = f" [{decision.where}]" if decision.where else ""
    choice, because = f"{decision.subject}: {asked}{decision.chosen}", f"{decision.because} ({decision.rule}){place}"
    if len(one_line := f"  {choice} · {because}") <= width():
        lines = [one_line]
    else:
        lines = [wrapped(choice, "  ", "      "), wrapped(because, "      ", "      ")]
    rejected = rejected_rows(decision, whole=whole)
    lines += [wrapped(f"not {names}: {reason}", "      ", "        ") for names, reason in rejected]
    return "\n".join(lines)


def coverage_text(coverage: tuple[Coverage, ...]) -> str:
    """Write which layers each method that makes a candidate quantizes, why it leaves the others, and name the rest."""
    lines = ["coverage · layers with weights that each method would quantize"]
    for method in (method for method in coverage if method.candidate):
        layers = sum(len(group.layers) for group in method.groups)
        touched = sum(len(group.layers) for group in method.groups if not group.because)
        said = f"{method.method}: {touched} of {counted(layers, 'layer')}, {method.share:.1%} of the weights"
        lines.append(wrapped(said, "  ", "      "))
        lines += [wrapped(group_text(group), "      ", "        ") for group in method.groups]
    if others := other_methods(coverage):
        lines.append(wrapped(others, "  ", "      "))
    return "\n".join(lines)


def _steps(rows: tuple[PlanStepRow, ...], gone: tuple[tuple[str, str], ...], verbose: bool) -> list[str]:
    name = min(max((len(row.id) for row in rows), default=0), 40)
    operator = max((len(row.operator) for row in rows), default=0)
    # In a narrow terminal a step's id has to say what it does: figures that do not stand in columns say nothing.
    wide = 4 + name + 2 + operator + 2 + _FIGURES <= width()
    head = f"    {'':<{name}}  " + f"{'':<{operator}}  " * wide
    lines = [f"{head}{'time':>8}   {'peak':>10}   {'output':>10}"]
    for row in rows:
        said = f"{row.operator:<{operator}}  " * wide
        lines.append(f"  {row.symbol} {row.id:<{name}}  {said}{_figures(row)}".rstrip())
        if row.symbol_because and row.symbol in "~!" and (verbose or not row.follows):
            lines.append(wrapped(row.symbol_because, "      ", "      "))
        if verbose and (row.because or not wide):
            lines.append(wrapped(row.because if wide else f"{row.operator}: {row.because}", "      ", "      "))
    lines += [f"  - {id:<{name}}  {operator_name}".rstrip() for id, operator_name in gone]
    return [*lines, *_legend(rows, gone=bool(gone))]


def _figures(row: PlanStepRow) -> str:
    figures = zip((f"{row.seconds:>8}", f"{row.peak:>10}", f"{row.output:>10}"), row.bases, strict=True)
    return " ".join(f"{figure} {LETTERS[basis]}" for figure, basis in figures)


def _legend(rows: tuple[PlanStepRow, ...], *, gone: bool) -> list[str]:
    """Explain the symbols and letters that stand above."""
    symbols = {row.symbol for row in rows} | ({"-"} if gone else set())
    letters = {LETTERS[basis] for row in rows for basis in row.bases}
    words = (
        [f"{symbol}{TIED}{words}" for symbol, words in SYMBOLS.items() if symbol in symbols],
        [f"{letter}{TIED}{words}" for letter, words in BASES.items() if letter in letters],
    )
    return [wrapped(" · ".join(parts), "    ", "    ") for parts in words if parts]


def _candidates(rows: tuple[PlanCandidateRow, ...]) -> list[str]:
    name = max((len(row.id) for row in rows), default=0)
    engine = max((len(f"{row.engine}, {row.format}") for row in rows), default=0)
    lines = [f"    {'':<{name}}  {'':<{engine}}  {'size':>10} {'latency':>10} {'memory':>10}"]
    for row in rows:
        runs = f"{row.engine}, {row.format}"
        lines.append(f"    {row.id:<{name}}  {runs:<{engine}}  {row.size:>10} {row.latency:>10} {row.memory:>10}")
    gains = {row.id: row.gain for row in rows if row.gain}
    if gains:
        lines.append("  speed over the original, predicted")
        lines += [wrapped(f"{row:<{name}}  {gain}", "    ", "        ") for row, gain in gains.items()]
    return lines


def _mending(plan: Plan) -> Iterator[str]:
    yield from (wrapped(line, "  ", "      ") for line in waiting_words(plan))


def _gate(row: PlanGateRow) -> str:
    notes = []
    if row.needed:
        assumption = f", {row.note}" if row.note else ""
        there = f"has {row.available or '?'}" + (" (too few)" if row.too_few else "")
        notes.append(f"needs {counted(int(row.needed), 'case')} for 80 % power{assumption}; {there}")
    elif row.note:
        notes.append(row.note)
    notes += [row.waiver] if row.waiver else []
    lines = [wrapped(f"{row.id}: {row.asks} · {row.origin}", "  ", "      ")]
    return "\n".join([*lines, *(wrapped(note, "      ", "      ") for note in notes)])


def totals(plan: Plan, previews: Previews | None) -> str:
    """Write one line: how many steps will run, are reused or wait for the search, and what is predicted."""
    return " · ".join(totals_parts(plan, previews or {}))


def trace_text(changes: "tuple[Change, ...]") -> str:
    """Write one block a pass: how many steps before and after, and which came, went, merged or moved."""
    return "passes\n" + "\n".join(_change(change) for change in changes)


def _change(change: "Change") -> str:
    lines = [f"  {change.name}: {counted(change.before, 'step')} → {change.after}"]
    for words, steps in (("removed", change.removed), ("added", change.added), ("changed", change.rewired)):
        if steps:
            lines.append(wrapped(f"{words}: {', '.join(steps)}", "      ", "        "))
    if change.moved:
        lines.append("      moved: the steps stand in another order")
    if len(lines) == 1:
        lines.append("      nothing to do")
    return "\n".join(lines)

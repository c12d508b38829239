"""What each verb does with its arguments: call the function, print its answer, give the exit code."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from titrant import console

if TYPE_CHECKING:
    from titrant.runtime.execution.worker import Worker

OK, CONTRACT_NOT_KEPT, WOULD_RUN = 0, 5, 6


def check(options: argparse.Namespace) -> int:
    """Check recipes; exit 2 if any has an error."""
    from titrant.verbs.check import check as verb

    found = {recipe: verb(recipe, overrides=options.overrides, trust=options.trust) for recipe in options.recipes}
    findings = [diagnostic for diagnostics in found.values() for diagnostic in diagnostics]
    wrong = {recipe for recipe, diagnostics in found.items() if any(d.severity == "error" for d in diagnostics)}
    if options.json:
        console.diagnostics(findings, as_json=True)
    else:
        if findings:
            console.diagnostics(findings)
        if not options.quiet:
            for recipe in options.recipes:
                console.answer(f"{recipe}: {_verdict(recipe in wrong, len(found[recipe]))}")
    return 2 if wrong else OK


def _verdict(wrong: bool, findings: int) -> str:
    if wrong:
        return f"{findings} finding" + ("s" if findings > 1 else "")
    return "ok" if not findings else "ok, with warnings"


def plan(options: argparse.Namespace) -> int:
    """Show or save the plan of a recipe."""
    from titrant.planned import save
    from titrant.verbs.hardware import load_hardware
    from titrant.verbs.plan import plan as verb
    from titrant.verbs.plan import symbols

    hardware = load_hardware(options.hardware) if options.hardware else None
    planned = verb(_read(options), hardware=hardware, trust=options.trust)
    forecast = symbols(planned)
    if options.json:
        console.answer_json(
            {"plan": planned.plan, "digest": planned.digest, "forecast": {k: list(v) for k, v in forecast.items()}}
        )
    else:
        _print_plan(planned, forecast, options)
    if options.out:
        save(planned, options.out)
        if not options.quiet:
            console.note(f"saved {options.out}; run it with: titrant run {options.out}")
    would_run = any(symbol in "+~" for symbol, _ in forecast.values())
    return WOULD_RUN if options.exit_code and would_run else OK


def run(options: argparse.Namespace) -> int:
    """Plan, show the plan, execute it, and print the verdict."""
    from titrant.planned import is_saved_plan, load
    from titrant.verbs.plan import plan as make_plan
    from titrant.verbs.plan import symbols
    from titrant.verbs.run import is_up_to_date, refuse_if_moved
    from titrant.verbs.run import run as verb
    from titrant.verdict_text import up_to_date_text, verdict_text

    worker: list[Worker] = []
    if is_saved_plan(options.recipe):
        _refuse_set(options, "a saved plan")
        planned = refuse_if_moved(load(options.recipe), trust=options.trust)
    else:
        planned = make_plan(_read(options), trust=options.trust, keep_worker=None if options.dry_run else worker)
    try:
        forecast = symbols(planned)
        up_to_date = is_up_to_date(forecast)
        if not options.quiet and not up_to_date:
            console.note(_plan_text(planned, forecast, options))
        if options.dry_run:
            if options.quiet or up_to_date:
                console.answer(_plan_text(planned, forecast, options))
            return OK
        with console.Progress(len(planned.plan.steps), quiet=options.quiet, verbose=options.verbose) as progress:
            record = verb(planned, listen=progress, worker=worker.pop() if worker else None)
    finally:
        for unused in worker:
            unused.close()
    console.answer(up_to_date_text(record) if record.executed == 0 else verdict_text(record, planned))
    return record.exit


def status(options: argparse.Namespace) -> int:
    """Say what would run now, and why."""
    from titrant.verbs.status import recipes_seen
    from titrant.verbs.status import status as verb

    for recipe in options.recipes or recipes_seen():
        answer = verb(recipe, overrides=options.overrides, trust=options.trust)
        console.answer(f"{recipe}: {answer.summary}")
        rows = [
            (symbol, step, because)
            for step, (symbol, because) in answer.steps.items()
            if symbol in "+~!" or options.verbose
        ]
        if rows:
            console.answer(console.table(rows))
    return OK


def report(options: argparse.Namespace) -> int:
    """Print runs' reports, or the path of the HTML file."""
    from titrant.verbs.report import report as verb
    from titrant.verbs.runs import read_text

    for run_name in options.runs:
        file = verb(run_name, format=options.format)
        console.answer(str(file) if options.format == "html" else read_text(file))
    return OK


def hardware(options: argparse.Namespace) -> int:
    """Describe this machine."""
    from titrant.compiler.hardware import detect
    from titrant.hardware_text import hardware_text
    from titrant.verbs.facts import home_folder
    from titrant.verbs.hardware import save_hardware

    found = detect(home_folder())
    if options.save:
        save_hardware(found, options.save)
        console.note(f"saved {options.save}; plan for this machine with: titrant plan RECIPE --hardware {options.save}")
    elif options.json:
        console.answer_json(found)
    else:
        console.answer(hardware_text(found))
    return OK


def show(options: argparse.Namespace) -> int:
    """List operators, recipes or runs, or print the JSON Schema of the recipe language."""
    from titrant.verbs import show as verb
    from titrant.verbs.facts import home_folder

    if options.what == "operators":
        listed = verb.operators() if options.name is None else None
        console.answer(console.table(list(listed.items())) if listed is not None else verb.operator_page(options.name))
    elif options.what == "recipes":
        listed = verb.recipes() if options.name is None else None
        console.answer(console.table(list(listed.items())) if listed is not None else verb.recipe_text(options.name))
    elif options.what == "schema":
        from titrant.schema.json_schema import recipe_schema

        console.answer_json(recipe_schema())
    else:
        rows = [(row["run"], row["verdict"], f"exit {row['exit']}", row["name"]) for row in verb.runs(home_folder())]
        console.answer(console.table(rows) or "no runs here yet; make one with: titrant run RECIPE")
    return OK


def explain(options: argparse.Namespace) -> int:
    """Explain a diagnostic code, a value of a recipe, or a step of a run."""
    from titrant.verbs.explain import explain as verb
    from titrant.verbs.explain import is_recipe

    if not is_recipe(options.subject):
        _refuse_set(options, f"'{options.subject}'", trust_too=True)
    console.answer(verb(options.subject, options.item, overrides=options.overrides, trust=options.trust))
    return OK


def recipes(options: argparse.Namespace) -> int:
    """Copy a shipped recipe."""
    from titrant.verbs.show import copy_recipe

    copy_recipe(options.name, options.file)
    console.note(f"copied to {options.file}; check it with: titrant check {options.file}")
    return OK


def _read(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    from titrant.schema.source import read

    recipe: Path = options.recipe
    return read(recipe, options.overrides)


def _refuse_set(options: argparse.Namespace, what: str, *, trust_too: bool = False) -> None:
    """Refuse options of a recipe where none is read, rather than ignore them."""
    given = ["--set"] * bool(options.overrides) + ["--trust"] * bool(trust_too and options.trust)
    if given:
        from titrant.schema.diagnostics import Diagnostic, RecipeError

        help_text = "plan the recipe again with it, or leave it out"
        raise RecipeError(Diagnostic("P014", f"{given[0]} has nothing to act on in {what}", help=help_text))


def _plan_text(planned, forecast, options: argparse.Namespace) -> str:  # type: ignore[no-untyped-def]
    from titrant.verbs.run import is_up_to_date

    if is_up_to_date(forecast) and not options.verbose:
        return f"{planned.plan.name}: up to date, plan {planned.digest[:8]}: nothing would run"
    from titrant.plan_text import plan_text

    return plan_text(planned.plan, forecast)


def _print_plan(planned, forecast, options: argparse.Namespace) -> None:  # type: ignore[no-untyped-def]
    console.answer(_plan_text(planned, forecast, options))

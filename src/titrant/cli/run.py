"""`titrant run`: plan, execute, judge, release, report."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.cli.console import wrapped
from titrant.cli.options import data_option, read_recipe, recipe_options, refuse_set
from titrant.cli.plan import text_of
from titrant.schema.contract.waivers import (
    WAIVED,
    WaivedGate,
    ended_words,
    needless_words,
    waived_verdict,
    waiver_words,
)
from titrant.schema.diagnostics.diagnostics import OK
from titrant.schema.gain import gains_words
from titrant.schema.gain_parts import fastest_words, whole_words
from titrant.schema.gate import GateResult, reason_words
from titrant.schema.plan import Plan
from titrant.schema.planned import Planned
from titrant.schema.record import NOT_TRIED, CandidateRecord, LadderRung, RunRecord
from titrant.schema.values.units import counted, format_size, format_time

if TYPE_CHECKING:
    from titrant.api.lock import Unlocked
    from titrant.runtime.worker.parent import Worker


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    data_option(parser)
    parser.add_argument("recipe", type=Path, metavar="RECIPE|PLAN")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and stop")
    parser.add_argument("--locked", action="store_true", help="do what the recipe's lock says, or exit 6")
    parser.add_argument(
        "--max-minutes", type=float, metavar="N", help="start no step after N minutes; what was judged decides"
    )


def call(options: argparse.Namespace) -> int:
    """Plan, show the plan, execute it, and print the verdict."""
    from titrant.api.lock import hold
    from titrant.api.plan import plan_and_preview
    from titrant.api.planned import has_changed_since, is_saved_plan, load
    from titrant.api.run import answer_again, answers_lock, is_up_to_date, refuse_if_moved
    from titrant.api.run import run as verb

    _check_minutes(options.max_minutes)
    worker: list[Worker] = []
    if is_saved_plan(options.recipe):
        refuse_set(options, "a saved plan")
        saved = load(options.recipe)
        planned, preview = refuse_if_moved(saved, trust=options.trust)
        if has_changed_since(saved):
            console.note(f"{saved.recipe_file} has changed since the plan was saved; the plan runs as it was saved")
    else:
        keep_worker = None if options.dry_run else worker
        planned, preview = plan_and_preview(
            read_recipe(options), trust=options.trust, keep_worker=keep_worker, coverage=options.verbose > 0
        )
    try:
        replay = hold(planned) if options.locked else None
        record, up_to_date = preview.answer, is_up_to_date(preview.steps)
        if not options.quiet and not up_to_date:
            console.note(text_of(planned, preview.steps, options))
        if options.dry_run:
            if options.quiet or up_to_date:
                console.answer(text_of(planned, preview.steps, options))
            return OK
        if record is None or (replay is not None and not answers_lock(record, replay, planned)):
            with console.Progress(
                len(planned.plan.steps), quiet=options.quiet, verbose=options.verbose, show_data=options.show_data
            ) as progress:
                record = verb(
                    planned,
                    listen=progress,
                    worker=worker[0] if worker else None,
                    max_minutes=options.max_minutes,
                    preview=preview,
                    replay=replay,
                )
        else:
            answer_again(record)
    finally:
        for kept in worker:
            kept.close()
    console.answer(up_to_date_text(record) if record.executed == 0 else verdict_text(record, planned))
    if record.exit == OK and not options.locked and not is_saved_plan(options.recipe) and not options.max_minutes:
        enter_lock(planned, record, options.recipe, quiet=options.quiet)
    return record.exit


def enter_lock(planned: "Planned", record: "RunRecord", recipe: Path, *, quiet: bool) -> None:
    """Enter a successful run in the lock beside its recipe; one line where that changed it, or cannot be."""
    from titrant.api.lock import Locked, update_lock
    from titrant.cli.lock import lock_line

    locked = update_lock(planned, record, recipe)
    if isinstance(locked, Locked):
        said = lock_line(locked) if locked.change else ""
    else:
        reason = _unlocked_text(locked, recipe)
        said = f"no lock was written: {reason}" if reason else ""
    if said and not quiet:
        console.note(said)


def _unlocked_text(unlocked: "Unlocked", recipe: Path) -> str:
    return {
        "unchanged": "",
        "overrides": "a run with --set is of another recipe",
        "installed": "the recipe lies in an installed package; copy it to own it: titrant recipes cp NAME FILE",
        "folder": f"{recipe.absolute().parent} cannot be written",
        "refused": unlocked.problem,
    }[unlocked.because]


def _check_minutes(minutes: float | None) -> None:
    if minutes is not None and not 0 < minutes < math.inf:
        from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

        help_text = "give a number of minutes above 0, such as 30"
        raise RecipeError(Diagnostic("P073", f"--max-minutes {minutes:g} is not a time to run in", help=help_text))


SYMBOLS = {"PASS": "✓", "FAIL": "✗", "INCONCLUSIVE": "?"}


def up_to_date_text(record: RunRecord) -> str:
    """Say in one sentence that nothing ran, and what the earlier run answered."""
    return (
        f"{record.name}: up to date, nothing executed: {counted(record.reused, 'step')} reused from {record.run} · "
        f"{headline(record)}\nreport: {_report(record)}"
    )


def headline(record: RunRecord) -> str:
    """Put the verdict into words, and what the released file gains, also where that is nothing."""
    released = ", ".join(record.released)
    if record.exit == 0 and record.verdict == "PASS":
        return f"PASS: released {released}; every gate of the contract is proven{_gained(record)}"
    if record.exit == 0 and record.verdict == WAIVED:
        waived = ", ".join(f"{gate.gate} ({gate.verdict})" for each in record.candidates for gate in each.waived)
        return f"{WAIVED}: released {released} with waivers: {waived}{_gained(record)}"
    if record.exit == 0:
        return f"{record.verdict}: released {released}; not every gate is proven{_gained(record)}"
    if record.withheld:
        missing = [name for name in record.withheld if name not in record.unmade]
        kept_back = f"; not released: {', '.join(missing)}, which does not keep the contract" * bool(missing)
        unmade = f"; not released: {', '.join(record.unmade)}, which could not be made" * bool(record.unmade)
        return f"{record.verdict}: released {released}{kept_back}{unmade}{_gained(record)}"
    if record.original_misses:
        return (
            f"{record.verdict}: nothing released; the original model itself misses {', '.join(record.original_misses)}"
        )
    return f"{record.verdict}: nothing released; keep the original model"


def _gained(record: RunRecord) -> str:
    gains = {candidate.candidate: gains_words(candidate.gains) for candidate in record.candidates}
    said = {name: gains[name] for name in dict.fromkeys(record.released) if gains.get(name)}
    several = len(set(record.released)) > 1
    return "".join(f"; {name}: {words}" if several else f"; {words}" for name, words in said.items())


def verdict_text(record: RunRecord, planned: Planned) -> str:
    """Write the outcome of a run."""
    lines = [f"{record.name}: {headline(record)}"]
    lines += [wrapped(_rung(rung), "  ", "    ") for rung in record.ladder]
    untried: dict[str, list[str]] = {}
    for candidate in record.candidates:
        if candidate.status == NOT_TRIED:
            untried.setdefault(candidate.because, []).append(candidate.candidate)
            continue
        lines.append(wrapped(f"{candidate.candidate}: {candidate.status} · {candidate.because}", "  ", "    "))
        lines += _figures(candidate)
        if candidate.judgement is not None:
            waived = {gate.gate: gate for gate in candidate.waived}
            lines += [
                wrapped(_gate(result, waived.get(result.gate)), "    ", " " * 8)
                for result in candidate.judgement.results
            ]
            lines += _waivers(candidate, planned.plan, record.judged_on) if record.judged_on else []
    lines += [
        wrapped(f"{', '.join(names)}: {NOT_TRIED} · {because}", "  ", "    ") for because, names in untried.items()
    ]
    lines += [wrapped(tracker.words, "  ", "    ") for tracker in record.tracking]
    lines.append(f"{counted(record.executed, 'step')} executed, {record.reused} reused, {format_time(record.seconds)}")
    lines.append(f"report: {_report(record)}")
    return "\n".join(lines)


def _figures(candidate: CandidateRecord) -> list[str]:
    parts = []
    if candidate.size is not None:
        parts.append(format_size(candidate.size))
    if "latency_p50" in candidate.figures:
        parts.append(f"p50 {format_time(candidate.figures['latency_p50'])}")
    lines = [f"    {' · '.join(parts)}"] if parts else []
    if candidate.parts is not None and (words := whole_words(candidate.parts)):
        said = "; ".join(filter(None, (words, fastest_words(candidate.parts))))
        lines.append(wrapped(said, "    ", " " * 8))
    return [*lines, *(wrapped(each.words, "    ", " " * 8) for each in candidate.reductions)]


def _rung(rung: LadderRung) -> str:
    """Say what became of one rung, and what it gives."""
    seconds = "" if rung.seconds is None else f"p50 {format_time(rung.seconds)}"
    size = "" if rung.size is None else format_size(rung.size)
    parts = (rung.word, rung.file or rung.because, seconds, rung.speed, size, rung.precisions)
    return f"rung {rung.rung}: {' · '.join(filter(None, parts))}"


def _gate(result: GateResult, waived: WaivedGate | None = None) -> str:
    if waived is not None:
        return f"! {waived_verdict(result.verdict)} {result.gate}: {waiver_words(waived)}; {reason_words(result)}"
    return f"{SYMBOLS[result.verdict]} {result.verdict:<12} {result.gate}: {reason_words(result)}"


def _waivers(candidate: CandidateRecord, plan: Plan, day: str) -> list[str]:
    """Say which waivers a released candidate had no need of, and which that would be needed have ended."""
    from titrant.runtime.contract.release.waivers import ended_waivers, needless_waivers

    judgement = candidate.judgement
    if judgement is None:
        return []
    needless = needless_waivers(plan.contract, judgement) if candidate.status == "released" else ()
    ended = ended_waivers(plan.contract, judgement, day)
    said = [needless_words(waiver) for waiver in needless]
    said += [f"{waiver.gate} blocks it: {ended_words(waiver)}" for waiver in ended]
    return [wrapped(words, "    ", " " * 8) for words in said]


def _report(record: RunRecord) -> str:
    """Name the report of a run, and its evidence where it has any."""
    from titrant.runtime.store.home import home_folder
    from titrant.runtime.store.run_folder import report_of
    from titrant.schema.release import FOLDER

    folder = home_folder() / "runs" / record.run
    evidence = f"\nevidence: {folder / FOLDER}" if (folder / FOLDER).is_dir() else ""
    return f"{report_of(folder) or folder}{evidence}"

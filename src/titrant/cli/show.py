"""`titrant show`: list operators, recipes, runs, or the recipe language."""

import argparse
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.cli.console import table, wrapped
from titrant.cli.options import json_option, nothing_to_act_on
from titrant.schema.diagnostics.diagnostics import OK
from titrant.schema.values.text import device_title

if TYPE_CHECKING:
    from titrant.api.runs import RunRow

# A run's id says when it began (UTC) and of which recipe it is.
_HEAD = ("run", "verdict", "released", "size", "latency", "accuracy")
_OPERATOR_HEAD = ("operator", "verified on", "what it does")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("what", choices=("operators", "recipes", "schema", "runs"))
    parser.add_argument("name", nargs="?", help="show one operator or recipe whole")
    runs = parser.add_argument_group("runs")
    runs.add_argument("--recipe", metavar="NAME", help="of the recipe of this name")
    runs.add_argument("--verdict", action="append", default=[], metavar="PASS", help="with this verdict, or another")
    runs.add_argument(
        "--metric", action="append", default=[], metavar="'accuracy>=.95'", help="whose model has this figure"
    )
    json_option(parser, "the runs, or the operators")


def call(options: argparse.Namespace) -> int:
    """List operators, recipes or runs, or print the JSON Schema of the recipe language."""
    from titrant.api import recipes, show

    _refuse_what_has_no_use(options)
    if options.what == "operators":
        _operators(options)
    elif options.what == "recipes":
        listed = recipes.recipes() if options.name is None else None
        console.answer(table(list(listed.items())) if listed is not None else recipes.recipe_text(options.name))
    elif options.what == "schema":
        console.answer_json(show.recipe_schema())
    else:
        _runs(options)
    return OK


def _refuse_what_has_no_use(options: argparse.Namespace) -> None:
    given = [f"--{name}" for name in ("recipe", "verdict", "metric") if getattr(options, name)]
    if options.what != "runs" and given:
        raise nothing_to_act_on(given[0], options.what, "it is for: show runs")
    if options.json and (options.what not in ("runs", "operators") or options.name is not None):
        raise nothing_to_act_on("--json", options.name or options.what, "it is for: show runs, show operators")
    if options.what in ("runs", "schema") and options.name is not None:
        raise nothing_to_act_on(options.name, options.what, "see titrant show --help")


def _operators(options: argparse.Namespace) -> None:
    from titrant.api import show

    if options.name is not None:
        console.answer(show.operator_page(options.name))
        return
    rows = show.operators()
    if options.json:
        console.answer_json(rows)
    else:
        cells = [(row.name, ", ".join(map(device_title, row.verified)) or "-", row.summary) for row in rows]
        console.answer(table([_OPERATOR_HEAD, *cells]))


def _runs(options: argparse.Namespace) -> None:
    from titrant.api.runs import search_runs
    from titrant.runtime.store.home import home_folder

    rows = search_runs(home_folder(), recipe=options.recipe, verdicts=options.verdict, metrics=options.metric)
    if options.json:
        console.answer_json(rows)
    elif rows:
        console.answer(table([_HEAD, *(_cells(row) for row in rows)]))
    elif options.recipe or options.verdict or options.metric:
        console.answer(wrapped(f"no run of this home fits{_without_figure(options.metric)}"))
    else:
        console.answer("no runs here yet; make one with: titrant run RECIPE")


def _without_figure(metrics: list[str]) -> str:
    """Name the figures that no run of the home has, as a misspelled one, and those that there are."""
    from titrant.api.runs import parse_metric, search_runs
    from titrant.runtime.store.home import home_folder

    figures = {name for row in search_runs(home_folder()) for name in row.figures}
    absent = sorted({parse_metric(text).figure for text in metrics} - figures)
    if not absent or not figures:
        return ""
    return f": none has a figure `{'`, `'.join(absent)}`; there are {', '.join(sorted(figures))}"


def _cells(row: "RunRow") -> tuple[str, ...]:
    from titrant.schema.values.units import format_size, format_time

    size, latency, accuracy = (row.figures.get(name) for name in ("size", "latency_p50", "accuracy"))
    return (
        row.run,
        row.verdict,
        ", ".join(row.released) or "-",
        "-" if size is None else format_size(size),
        "-" if latency is None else format_time(latency),
        "-" if accuracy is None else f"{accuracy:.4f}",
    )

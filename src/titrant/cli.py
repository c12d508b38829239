"""The command line: arguments in, a verb's function called, its answer printed, an exit code out."""

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from titrant import __version__
from titrant.schema.diagnostics import TitrantError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; only a defect of titrant's own shows a traceback."""
    # Pydantic looks for plugins in every installed package, which takes longer than checking a recipe.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Importing makes a hundred thousand objects and hardly any garbage: look for it a hundred times less often.
    gc.set_threshold(70_000, 20, 20)
    from titrant import console

    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        options = parser().parse_args(arguments)
        _set_up_log(options)
        code: int = options.call(options)
        sys.stdout.flush()
    except TitrantError as error:
        console.diagnostics(error.diagnostics, as_json=getattr(options, "json", False))
        return error.exit_code
    except KeyboardInterrupt:
        console.note("interrupted; run the same command again to go on")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`titrant plan … | head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # noqa: BLE001 - the one place where a defect of ours ends
        console.defect()
        return 1
    return code


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _set_up_log(options: argparse.Namespace) -> None:
    if options.log_level or options.log_file:
        from titrant.log import setup_logging
        from titrant.schema.diagnostics import Diagnostic, RecipeError

        try:
            setup_logging(options.log_level or "warning", options.log_file)
        except OSError as error:
            raise RecipeError(
                Diagnostic("P005", f"the log file {options.log_file} cannot be written: {error.strerror}",
                           help="name a file in a folder that you may write to")
            ) from None  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Build the parser of all verbs."""
    top = argparse.ArgumentParser(
        prog="titrant",
        description="Compile a recipe into a plan, run it, and release a model only if it keeps its contract.",
        epilog="exit codes: 0 done · 1 our defect · 2 recipe or arguments invalid · 3 cannot be done here · "
        "4 a step failed · 5 contract not kept · 6 out of date · 130 interrupted",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"titrant {__version__}")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    shared = _shared()
    recipe = _recipe_options()
    from titrant import commands as call

    verb = _adder(verbs, shared)
    check = verb("check", "parse and bind recipes; looks at no machine and runs no code", call.check, recipe)
    check.add_argument("recipes", nargs="+", type=Path, metavar="RECIPE")
    check.add_argument("--json", action="store_true", help="findings as JSON, for editors and CI")

    plan = verb("plan", "show what would be done, why, and what it must keep", call.plan, recipe)
    plan.add_argument("recipe", type=Path, metavar="RECIPE")
    plan.add_argument(
        "--hardware", type=Path, metavar="FILE", help="plan for a machine saved by `titrant hardware --save`"
    )
    plan.add_argument("--out", type=Path, metavar="FILE", help="save the plan (.json) for `titrant run FILE`")
    plan.add_argument("--json", action="store_true", help="the plan as JSON")
    plan.add_argument("--exit-code", action="store_true", help="exit 6 when something would run")

    run = verb("run", "plan, execute, judge, release, report", call.run, recipe)
    run.add_argument("recipe", type=Path, metavar="RECIPE|PLAN")
    run.add_argument("--dry-run", action="store_true", help="show the plan and stop")

    status = verb("status", "what would run now, and why", call.status, recipe)
    status.add_argument("recipes", nargs="*", type=Path, metavar="RECIPE", help="default: every recipe that ran here")

    report = verb("report", "show a run's report", call.report)
    report.add_argument("runs", nargs="+", metavar="RUN", help="folder, id, unique prefix, or latest")
    report.add_argument("--format", choices=("html", "md", "json"), default="md", help="html prints the file's path")

    hardware = verb("hardware", "describe this machine", call.hardware)
    hardware.add_argument("--json", action="store_true")
    hardware.add_argument("--save", type=Path, metavar="FILE", help="save the description to plan with elsewhere")

    show = verb("show", "list operators, recipes, runs, or print the recipe language's JSON Schema", call.show)
    show.add_argument("what", choices=("operators", "recipes", "schema", "runs"))
    show.add_argument("name", nargs="?", help="show one operator or recipe whole")

    explain = verb("explain", "why a value is what it is, what a step did, what a code means", call.explain, recipe)
    explain.add_argument("subject", metavar="RECIPE|RUN|CODE")
    explain.add_argument(
        "item", nargs="?", metavar="PATH|STEP", help="a recipe path such as quantization.method, or a step"
    )

    recipes = verb("recipes", "copy a shipped recipe to own it: titrant recipes cp NAME FILE", call.recipes)
    recipes.add_argument("action", choices=("cp",))
    recipes.add_argument("name", metavar="NAME")
    recipes.add_argument("file", type=Path, metavar="FILE")
    return top


def _adder(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser):  # type: ignore[no-untyped-def]
    def add(name: str, text: str, call, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
        made = verbs.add_parser(name, help=text, description=text, parents=[shared, *parents], allow_abbrev=False)
        made.set_defaults(call=call)
        return made

    return add


def _shared() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("output")
    group.add_argument("-q", "--quiet", action="store_true", help="only the answer")
    group.add_argument("-v", "--verbose", action="count", default=0, help="more: what each step prints and measures")
    group.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), help="log to stderr from this level on"
    )
    group.add_argument("--log-file", type=Path, metavar="FILE", help="log everything as JSON lines")
    return shared


def _recipe_options() -> argparse.ArgumentParser:
    recipe = argparse.ArgumentParser(add_help=False)
    group = recipe.add_argument_group("recipe")
    group.add_argument(
        "--set", action="append", default=[], metavar="a.b=v", dest="overrides", help="override a key; v is YAML"
    )
    group.add_argument("--trust", action="store_true", help="let the recipe run code from outside its folder")
    return recipe

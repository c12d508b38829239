"""The command line: arguments in, a verb's function called, its answer printed, an exit code out."""

import argparse
import atexit
import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from titrant import __version__
from titrant.commands import VERBS
from titrant.commands.options import output_options
from titrant.schema.diagnostics import TitrantError

INTERRUPTED = 130


def entry() -> NoReturn:
    """Run one command and end the process with its exit code.

    What was to happen at the end of the process happens; what the interpreter would do then, to give back object by
    object memory that the system takes back at once, takes a tenth of a short command's time, and is left out.
    """
    code = main()
    atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; only a defect of titrant's own shows a traceback."""
    # Pydantic looks for plugins in every installed package, which takes longer than checking a recipe.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Importing makes a hundred thousand objects and hardly any garbage: look for it much less often.
    gc.set_threshold(200_000, 20, 20)
    from titrant import console

    console.prepare()
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _answered(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        console.note("interrupted; run the same command again to go on")
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - the one place where a defect of ours ends
        console.defect()
        return 1


def _answered(given: Sequence[str]) -> int:
    """Call the verb; what a person can mend is printed, as JSON where that was asked for."""
    from titrant import console

    options = parser(given).parse_args(given)
    try:
        _set_up_log(options)
        code: int = options.call(options)
    except TitrantError as error:
        try:
            console.diagnostics(error.diagnostics, as_json=getattr(options, "json", False))
        except TitrantError as unwritten:
            console.diagnostics((*error.diagnostics, *unwritten.diagnostics))
        return error.exit_code
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


def parser(arguments: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Build the parser; given a command line that begins with a verb, with that verb alone."""
    top = argparse.ArgumentParser(
        prog="titrant",
        description="Compile a recipe into a plan, run it, and release a model only if it keeps its contract.",
        epilog="exit codes: 0 done · 1 our defect · 2 recipe or arguments invalid · 3 cannot be done here · "
        "4 a step failed · 5 contract not kept · 6 out of date · 7 rerun differs · 130 interrupted",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"titrant {__version__}")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    named = arguments[0] if arguments and arguments[0] in VERBS else None
    for name, text in VERBS.items():
        if named not in (None, name):
            continue
        verb = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        if arguments is None or name in arguments:
            output_options(verb)
            command = import_module(f"titrant.commands.{name}")
            command.arguments(verb)
            verb.set_defaults(call=command.call)
    return top

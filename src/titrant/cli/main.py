"""The command line: arguments in, a verb's function called, its answer printed, an exit code out."""

import codecs
import os
import signal
import sys

# No more is loaded here: until `entry` runs, a signal ends the process as Python does, with a traceback or nothing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import Any, NoReturn

INTERRUPTED = 130
_INTERRUPTED = "interrupted; run the same command again to go on"
# A closed terminal is as good a reason to end in order as a key.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
# What loads a module, and what makes a validator, takes an interrupt for a failure of its own, or lets it go under.
_SWALLOW = ("<frozen importlib", f"{os.sep}pydantic{os.sep}")
_AGAIN_SECONDS = 0.01
_ESCAPE = "titrant-escape"
# How a stream treats what its encoding lacks, where nobody asked for something else: `surrogateescape` in the C locale.
_RAISING = ("strict", "backslashreplace", "surrogateescape")


def entry() -> "NoReturn":
    """Run one command and end the process with its exit code.

    What was to happen at the end of the process happens; what the interpreter would do then, to give back object by
    object memory that the system takes back at once, takes a tenth of a short command's time, and is left out.
    """
    _on_signals(_leave)
    try:
        code = main()
        _on_signals(signal.SIG_IGN)  # all is done and said
    except KeyboardInterrupt:
        _leave()
    import atexit
    from contextlib import suppress

    atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run one command and return its exit code; only a defect of titrant's own shows a traceback."""
    import gc

    # Pydantic looks for plugins in every installed package, which takes longer than checking a recipe.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Importing makes a hundred thousand objects and hardly any garbage: look for it much less often.
    gc.set_threshold(200_000, 20, 20)
    _prepare_streams()
    try:
        return _answered(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        from titrant.cli import console

        console.note(_INTERRUPTED)
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - the one place where a defect of ours ends
        from titrant.cli import console

        console.defect()
        return 1


def _prepare_streams() -> None:
    """Make stdout and stderr take any text: what their encoding lacks is written as an escape such as `\\u2192`.

    The escapes are those of JSON. A stream that was closed before the start takes everything and keeps nothing.
    """
    codecs.register_error(_ESCAPE, _escaped)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif hasattr(stream, "reconfigure") and stream.errors in _RAISING:
            stream.reconfigure(errors=_ESCAPE)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)), error.end


def _answered(given: "Sequence[str]") -> int:
    """Call the verb; what a person can mend is printed, as JSON where that was asked for."""
    options = parser(given).parse_args(given)
    from titrant.cli import console
    from titrant.schema.diagnostics.diagnostics import TitrantError

    # From here on there is something to put in order before the process ends.
    _on_signals(_interrupt)
    try:
        _check_folder()
        _set_up_log(options)
        code: int = _called(options)
    except TitrantError as error:
        try:
            console.diagnostics(
                error.diagnostics,
                as_json=getattr(options, "json", False),
                show_data=getattr(options, "show_data", None),
            )
        except TitrantError as unwritten:
            console.diagnostics((*error.diagnostics, *unwritten.diagnostics))
        return error.exit_code
    return code


def _check_folder() -> None:
    """Raise RecipeError (P018) where the current folder is gone: no path could be read or written."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib takes longer to load
    except FileNotFoundError:
        from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

        message = "the folder that this was started in is gone"
        raise RecipeError(Diagnostic("P018", message, help="cd to one that exists")) from None


def _called(options: "argparse.Namespace") -> int:
    """Call the verb; what the system refuses below the home is a mistake of nobody's code."""
    try:
        code: int = options.call(options)
    except OSError as error:
        from titrant.runtime.store.home import disk_errors, home_to_read

        with disk_errors(home_to_read()):
            raise error from error
    return code


def _on_signals(answer: "Callable[..., Any] | signal.Handlers") -> None:
    """Set what ends a command; what the caller has this process ignore, as `nohup` does, stays ignored."""
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, answer)


def _leave(*_: object) -> "NoReturn":
    """End at once, in the line that every interrupted command ends with: nothing was begun."""
    try:  # noqa: SIM105 - a handler of signals loads nothing
        os.write(2, f"{_INTERRUPTED}\n".encode())
    except OSError:
        pass
    os._exit(INTERRUPTED)


def _interrupt(number: int, frame: "FrameType | None") -> None:
    """Raise KeyboardInterrupt as soon as whoever is at work lets it through."""
    while frame is not None:
        if sys.platform != "win32" and any(part in frame.f_code.co_filename for part in _SWALLOW):
            signal.signal(signal.SIGALRM, _interrupt)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _set_up_log(options: "argparse.Namespace") -> None:
    if options.log_level or options.log_file:
        from titrant.runtime.run.run_log import setup_logging
        from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

        try:
            setup_logging(options.log_level or "warning", options.log_file)
        except OSError as error:
            raise RecipeError(
                Diagnostic("P005", f"the log file {options.log_file} cannot be written: {error.strerror}",
                           help="name a file in a folder that you may write to")
            ) from None  # fmt: skip


def parser(arguments: "Sequence[str] | None" = None) -> "argparse.ArgumentParser":
    """Build the parser; given a command line that begins with a verb, with that verb alone."""
    import argparse
    from importlib import import_module

    from titrant.cli.options import VERBS, output_options
    from titrant.schema import __version__

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
            command = import_module(f"titrant.cli.{name}")
            command.arguments(verb)
            verb.set_defaults(call=command.call)
    return top

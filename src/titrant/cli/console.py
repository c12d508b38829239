"""All printing, and the layout of text in lines and columns.

stdout is the answer, stderr is progress and findings; both are plain when not a terminal.
"""

import json
import os
import re
import sys
import textwrap
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.text import printable

_UNWRITTEN = "P017"


def answer(text: str) -> bool:
    """Print the answer of a command on stdout; False where its reader went away (`titrant plan … | head`).

    The command goes on: its exit code is still asked for. RecipeError (P017) when stdout takes nothing, as on a full
    disk.
    """
    try:
        text = printable(text)
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon()
        return False
    except OSError as error:
        from titrant.schema.values.text import os_reason

        _abandon()
        message = f"the answer cannot be written: {os_reason(error)}"
        raise RecipeError(Diagnostic(_UNWRITTEN, message, help="send it elsewhere, or make room there")) from None
    return True


def _abandon() -> None:
    """Let stdout lead nowhere, so that what it holds back is not tried again at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def answer_json(value: object, *, sort: bool = False, lines: bool = False) -> bool:
    """Print a value as JSON on stdout, with its keys sorted or all in one line where asked; False as `answer` does."""
    from titrant.schema.values.canonical import plain

    return answer(json.dumps(plain(value), indent=None if lines else 2, sort_keys=sort, ensure_ascii=False))


def note(text: str) -> None:
    """Print one line of progress or information on stderr."""
    # Nobody is left to tell where stderr takes nothing; the exit code says it.
    with suppress(OSError):
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()


def diagnostics(findings: Iterable[Diagnostic], *, as_json: bool = False, show_data: bool | None = None) -> None:
    """Print findings: as text on stderr, or as a JSON list on stdout, unless they say that it takes nothing.

    `show_data` is whether what may hold rows is shown as well; None for a command that does not offer it.
    """
    findings = tuple(findings)
    from titrant.schema.diagnostics.render import as_json as to_json
    from titrant.schema.diagnostics.render import render_all

    if as_json and not any(diagnostic.code == _UNWRITTEN for diagnostic in findings):
        said = [to_json(diagnostic, show_data=bool(show_data)) for diagnostic in findings]
        answer(json.dumps(said, indent=2, ensure_ascii=False))
    else:
        note(render_all(findings, show_data=bool(show_data)))
        if show_data is False and any(diagnostic.said for diagnostic in findings):
            note("  more was said, which may hold rows of the data: --show-data shows it here and keeps it nowhere")


def defect() -> None:
    """Print the traceback of a defect of titrant's own, and what to do with it."""
    note(traceback.format_exc().rstrip("\n"))
    note("titrant: this is a defect of titrant itself, not of your recipe; please report it with the lines above")


def is_terminal(stream: TextIO | None = None) -> bool:
    """Say whether a stream (default: stderr) can be drawn on: it is a terminal, and nothing asks for plain text."""
    stream = sys.stderr if stream is None else stream
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def can_ask() -> bool:
    """Say whether somebody can answer a question: stdin and stderr are a terminal, and nothing asks for plain text."""
    return sys.stdin is not None and sys.stdin.isatty() and is_terminal()


def ask(prompt: str) -> str:
    """Ask for a line on stderr and return it; KeyboardInterrupt where the terminal's input ends."""
    sys.stderr.write(printable(prompt))
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise KeyboardInterrupt
    return line.rstrip("\n")


class Progress:
    """Shows a run's events: a live bar for the running step on a terminal, one plain line a finished step elsewhere.

    Call it with each event of the executor; use it as a context manager so that the terminal is left as it was.
    """

    def __init__(self, steps: int, *, quiet: bool = False, verbose: int = 0, show_data: bool = False) -> None:
        self.steps = steps
        self.show_data = show_data
        self.quiet = quiet
        self.verbose = verbose
        self.done = 0
        self._live: Any = None
        self._bar: Any = None
        self._failed: dict[str, str] = {}  # what failed, by why

    def __enter__(self) -> "Progress":
        if not self.quiet and is_terminal():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            console = Console(stderr=True, no_color="NO_COLOR" in os.environ, highlight=False)
            self._live = Bars(
                TextColumn("  {task.description:<34}"), BarColumn(24), TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(), console=console, transient=True,
            )  # fmt: skip
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)
            self._live = self._bar = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        kind = event["event"]
        step = str(event.get("step", ""))
        if self.quiet:
            return
        if kind == "started":
            self._start(step)
        elif kind == "progress" and self._bar is not None:
            self._live.update(
                self._bar,
                completed=event["done"],
                total=event["total"] or None,
                note=printable(str(event.get("note", ""))),
            )
        elif kind in ("finished", "reused", "failed", "rejected"):
            self._end(kind, step, event)
        elif kind == "note":
            self._note(str(event["text"]))
        elif kind == "printed" and self.show_data:
            self._line(str(event["text"]).rstrip("\n"))
        if self.show_data and event.get("said") and kind != "printed":
            self._line(f"    said: {event['said']}")

    def _start(self, step: str) -> None:
        if self._live is not None:
            self._bar = self._live.add_task(step, total=None, note="")

    def _end(self, kind: str, step: str, event: Mapping[str, Any]) -> None:
        from titrant.schema.values.units import format_time

        self.done += 1
        if self._bar is not None:
            self._live.remove_task(self._bar)
            self._bar = None
        symbol = {"finished": "+", "reused": "=", "failed": "!", "rejected": "-"}[kind]
        seconds = event.get("seconds")
        tail = (
            format_time(float(seconds))
            if kind == "finished" and seconds is not None
            else self._because(kind, step, str(event.get("because", kind)))
        )
        if kind != "reused" or self.verbose:
            self._line(f"  {symbol} {step:<32} {tail}")

    def _because(self, kind: str, step: str, reason: str) -> str:
        """Say once why a step failed: candidates that fall with it refer to it."""
        if kind == "rejected" and reason in self._failed:
            return f"left out: {self._failed[reason]} failed"
        if kind == "failed":
            self._failed[reason] = step
        return reason

    def _note(self, text: str) -> None:
        self._line(f"  {text}" if self._live is None else wrapped(text, "  ", "      "))

    def _line(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(printable(text), markup=False, soft_wrap=True)
        else:
            note(text)


class InPlace:
    """Shows an answer that changes: drawn over on a terminal, a line each time elsewhere.

    Call it with the line and what stands below it on a terminal; use it as a context manager. It returns False where
    nobody reads it any more.
    """

    def __init__(self) -> None:
        self._live: Any = None

    def __enter__(self) -> "InPlace":
        if is_terminal(sys.stdout):
            from rich.console import Console
            from rich.live import Live

            drawn_on = Console(file=sys.stdout, no_color="NO_COLOR" in os.environ, highlight=False)
            self._live = Live(console=drawn_on, auto_refresh=False)
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)

    def __call__(self, line: str, below: str = "") -> bool:
        """Show the answer as it is now."""
        if self._live is None:
            return answer(line)
        from rich.text import Text

        self._live.update(Text(printable(f"{line}\n{below}")), refresh=True)
        return True


class Counting:
    """Shows how far a long count is: one line that is written over on a terminal, nothing elsewhere.

    Call it with what is done, how much of it and out of how much; use it as a context manager.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._shown = is_terminal() and not quiet
        self._drawn_at = 0.0

    def __enter__(self) -> "Counting":
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown and self._drawn_at:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show a count, at most ten times a second."""
        now = time.monotonic()
        if self._shown and now - self._drawn_at >= 0.1:
            self._drawn_at = now
            share = f" {done / total:.0%}" if total > 1 else ""
            sys.stderr.write(f"\r\033[K  {printable(what)}{share}")
            sys.stderr.flush()


WIDTH = 100
# In a terminal that is narrower than this, the terminal itself breaks lines.
_NARROWEST = 60
# The last column of a table is filled from this width on; with less room it runs on.
_LEAST_WIDTH = 24
# A no-break space: it keeps a number and its unit in one line while a text is filled.
TIED = "\u00a0"
# Compiled when a text is first filled: `--help` fills none.
_QUANTITY = r"(?<=\d) (?=(?:B|[KMGT]iB|ns|µs|ms|s|min|h|%|[kMGT]?B/s|[GT]FLOP/s|cases/s)(?![\w/]))"


def width() -> int:
    """Return how many columns text is filled to: 100, or those of a narrower terminal on stdout."""
    if sys.stdout is None or not sys.stdout.isatty():
        return WIDTH
    import shutil

    return max(_NARROWEST, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def wrapped(text: str, first: str = "", rest: str = "", *, columns: int | None = None) -> str:
    """Fill a text to the width, or to `columns`; `first` and `rest` are the indents.

    Words are kept whole, so that paths and commands can be copied, and so are quantities.
    """
    filled = textwrap.fill(
        re.sub(_QUANTITY, TIED, text), columns or width(), initial_indent=first, subsequent_indent=rest,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
    return filled.replace(TIED, " ")


def table(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> str:
    """Lay rows out in columns; the last one is filled to the width where there is room for it."""
    if not rows:
        return ""
    rows = [[cell.replace("\n", "\\n") for cell in row] for row in rows]  # a name of the data is no line of ours
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    heads = [indent + "".join(f"{cell:<{wide}}  " for cell, wide in zip(row, widths, strict=False)) for row in rows]
    left = width() - len(heads[0])
    if left < _LEAST_WIDTH:
        return "\n".join(f"{head}{row[-1]}".rstrip() for head, row in zip(heads, rows, strict=True))
    hang = " " * len(heads[0])
    return "\n".join(_row(head, row[-1], hang) for head, row in zip(heads, rows, strict=True))


def _row(head: str, last: str, hang: str) -> str:
    return wrapped(last, head, hang).rstrip() if last else head.rstrip()

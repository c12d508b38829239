"""What a worker prints: counted, and told without secrets to whoever follows the run.

It may hold rows, so no log has it.
"""

import contextlib
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from titrant.schema.config.secrets import without_secret_lines
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import printable

_BLOCK = 64 << 10
# A line that is longer is told in parts.
_LINE = 1 << 20
# So much of what was printed is told: its end.
_KEPT = 64 << 10
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True)
class Printed:
    """How much was printed, and the end of it, without secrets."""

    lines: int = 0
    size: int = 0  # bytes
    text: str = ""

    @property
    def last(self) -> str:
        """The last line."""
        return (self.text.strip().splitlines()[-1:] or [""])[0]

    def then(self, later: "Printed") -> "Printed":
        """Return this with what was printed later behind it."""
        return Printed(self.lines + later.lines, self.size + later.size, (self.text + later.text)[-_KEPT:])


class OutputPipe:
    """A pipe for a child process to print into, and a thread that counts what comes out.

    `end` is the child's end. Nothing of it reaches the disk.
    """

    def __init__(self) -> None:
        self._begin, self.end = os.pipe()
        self._sign = b"\0" + os.urandom(12).hex().encode()
        self._signs = re.compile(self._sign + rb"(\d{12})\0")
        self._sent = self._seen = 0
        self._came = threading.Condition()
        self._final = -1  # the sign at which the thread ends
        self._lines = self._size = 0
        self._kept = b""
        self._cleaner = Cleaner()
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def take(self) -> Printed:
        """Return what was printed since this was asked before."""
        self._settle()
        printed = Printed(self._lines, self._size, self._kept.decode("utf-8", "replace"))
        self._lines = self._size = 0
        self._kept = b""
        return printed

    def close(self) -> None:
        """End; whoever prints after this is ended by the system."""
        self._final = self._sent + 1
        self._settle()
        self._thread.join()
        os.close(self.end)
        os.close(self._begin)

    def _settle(self) -> None:
        """Wait until everything that is in the pipe now came out: what was printed stands before our sign in it."""
        self._sent += 1
        mine = self._sent
        os.write(self.end, b"%b%012d\0" % (self._sign, mine))
        with self._came:
            self._came.wait_for(lambda: self._seen >= mine)

    def _copy(self) -> None:
        waiting = b""
        while block := os.read(self._begin, _BLOCK):
            waiting += block
            while sign := self._signs.search(waiting):
                self._add(waiting[: sign.start()])
                waiting = waiting[sign.end() :]
                number = int(sign[1])
                with self._came:
                    self._seen = number
                    self._came.notify_all()
                if number == self._final:
                    return
            # The last line may go on, and so may a sign.
            whole = max(waiting.rfind(b"\n"), waiting.rfind(b"\r")) + 1
            if not whole and len(waiting) > _LINE:
                whole = len(waiting) - len(self._sign) - 13
            self._add(waiting[:whole])
            waiting = waiting[whole:]

    def _add(self, part: bytes) -> None:
        if not part:
            return
        self._lines += part.count(b"\n") + (not part.endswith(b"\n"))
        self._size += len(part)
        self._kept = (self._kept + self._cleaner.clean(part))[-_KEPT:]


class Cleaner:
    """Cleans a text that comes in parts; a private key may begin in one and end in another."""

    def __init__(self) -> None:
        self._in_key = False

    def clean(self, part: bytes) -> bytes:
        """Return a part without secrets; it ends where a line does, or the text. What is not UTF-8 stays as it is."""
        if not part:
            return part
        text = part.decode("utf-8", "surrogateescape")
        if self._in_key:
            end = _KEY_ENDS.search(text)
            if end is None:
                return b""
            self._in_key, text = False, text[end.end() :]
        begins = [match.end() for match in _KEY_BEGINS.finditer(text)]
        self._in_key = bool(begins) and _KEY_ENDS.search(text, begins[-1]) is None
        return without_secret_lines(text).encode("utf-8", "surrogateescape")


def write_log(log: Path, printed: Printed, calls: Sequence[str]) -> None:
    """Add to the log of a step how much was printed, and the calls that led to where it failed; nothing of neither.

    A log that cannot be written, as on a full disk, loses it.
    """
    lines = list(calls)
    if printed.size:
        count = f"{printed.lines:,} line{'s' * (printed.lines != 1)} ({printed.size:,} bytes)"
        lines.append(f"{count} were printed and are not kept, since they may hold rows; --show-data shows them")
    if lines:
        with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
            file.write(printable("\n".join(lines) + "\n"))

"""What a worker prints: written to the log of its step as it comes, with secrets taken out."""

import contextlib
import os
import re
import threading
from pathlib import Path
from typing import IO

from titrant.schema.config.secrets import without_secret_lines

_BLOCK = 64 << 10
# A line that is longer is written in parts.
_LINE = 1 << 20
_KEPT = 2000
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")


class OutputPipe:
    """A pipe for a child process to print into, and a thread that writes what comes out into one log after another.

    Nothing that looks like a secret reaches the disk, also where this process is killed in the middle of a step.
    `end` is the child's end. A log that cannot be written any more, as on a full disk, loses the rest.
    """

    def __init__(self) -> None:
        self._begin, self.end = os.pipe()
        self._sign = b"\0" + os.urandom(12).hex().encode()
        self._signs = re.compile(self._sign + rb"(\d{12})\0")
        self._sent = self._seen = 0
        self._came = threading.Condition()
        self._final = -1  # the sign at which the thread ends
        self._log: IO[bytes] | None = None
        self._last = b""
        self._cleaner = Cleaner()
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    @property
    def last(self) -> str:
        """The last of what was printed outside every log."""
        return self._last.decode("utf-8", "replace")

    def into(self, log: Path | None) -> None:
        """Write what is printed from now on at the end of a log, made where it is missing; what came before is written.

        Raises OSError where the log cannot be opened.
        """
        self._settle()
        before, self._log = self._log, None
        if before is not None:
            with contextlib.suppress(OSError):
                before.close()
        if log is not None:
            self._log = log.open("ab", buffering=0)

    def close(self) -> None:
        """Write what is left, and end; whoever prints after this is ended by the system."""
        with contextlib.suppress(OSError):
            self.into(None)
        self._final = self._sent + 1
        self._settle()
        self._thread.join()
        os.close(self.end)
        os.close(self._begin)

    def _settle(self) -> None:
        """Wait until everything that is in the pipe now is written: what was printed stands before our sign in it."""
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
                self._write(self._cleaner.clean(waiting[: sign.start()]))
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
            self._write(self._cleaner.clean(waiting[:whole]))
            waiting = waiting[whole:]

    def _write(self, text: bytes) -> None:
        log = self._log
        if log is None:
            self._last = (self._last + text)[-_KEPT:]
            return
        try:
            while text:
                text = text[log.write(text) :]
        except (OSError, ValueError):  # ValueError: closed just now
            return


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

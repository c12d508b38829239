"""What each of the user's modules read, also in copies of the process that it made."""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from titrant.schema.values.dependencies import CHANGED, MISSING, PRESENCE, VARIABLE
from titrant.schema.values.files import FileState


class ReadStates:
    """In what state each file was whenever this process read it: one that changed meanwhile was read in either.

    Its digest afterwards is of what may never have been read.
    """

    def __init__(self) -> None:
        self._first: dict[str, FileState] = {}
        self._changed: set[str] = set()

    def see(self, path: str, state: FileState) -> None:
        """Note in what state a file is that is about to be read."""
        if self._first.setdefault(path, state) != state:
            self._changed.add(path)

    def forget(self, paths: Iterable[str]) -> None:
        """Leave out what the user's own code writes."""
        for path in paths:
            self._first.pop(path, None)
            self._changed.discard(path)

    def changed(self, path: str) -> bool:
        """Tell whether a file was read in two states, or is in another one than it was read in."""
        return path in self._changed or (path in self._first and self._first[path] != file_state(path))


def file_state(path: str) -> FileState:
    """Return what changes where a file is written or another put in its place; () of what is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a question of Path is one that the user's code asks
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else ()


class ModuleReadings:
    """Reads by module; a path that ends in a slash is a folder that was listed.

    A file counts with the digest that it had when it was first read: what a module made of it then may still be in use,
    and a result that rests on two states of one file must not be found again.
    """

    def __init__(self) -> None:
        self._by_module: dict[str, set[str]] = {}
        self._digests: dict[str, str] = {}
        self._unsettled: dict[str, set[str]] = {}  # path → modules, of what is being watched

    def add(self, path: str, modules: Iterable[str]) -> None:
        """Note that some modules were at work when a path was read."""
        self._unsettled.setdefault(path, set()).update(modules)

    def settle(
        self,
        written: set[str],
        digest: Callable[[str], str],
        is_passing: Callable[[str], bool],
        changed: Callable[[str], bool],
    ) -> None:
        """Digest what was noted, leaving out what was written too.

        A file that is not there counts by that, unless `is_passing` says of its path that nobody keeps files there.
        One that `changed` since it was read counts by that alone.
        """
        noted, self._unsettled = self._unsettled, {}
        for noticed, modules in noted.items():
            if noticed.removeprefix(PRESENCE) in written:
                continue
            path = noticed
            if changed(path):
                self._digests[path] = CHANGED
            elif path not in self._digests:
                state = digest(path)
                if state == MISSING and not path.startswith((PRESENCE, VARIABLE)):
                    if is_passing(path):
                        continue
                    path = f"{PRESENCE}{path.rstrip('/')}"
                self._digests.setdefault(path, state)
            for module in modules:
                self._by_module.setdefault(module, set()).add(path)

    def of(self, modules: Iterable[str]) -> dict[str, str]:
        """Return what some modules read: path → digest."""
        paths = set().union(*(self._by_module.get(module, ()) for module in modules))
        return {path: self._digests[path] for path in paths}


class Copies:
    """What copies of this process read, as `multiprocessing` makes them: they hand it on through memory."""

    def __init__(self) -> None:
        self.in_child = False
        self._memory: int | None = None
        os.register_at_fork(before=self._share, after_in_child=self._begin)

    def hand_on(self, noted: Any) -> None:
        """Write what is noted, from a copy; all of them share the place where the next one writes."""
        if self._memory is not None:
            with contextlib.suppress(OSError):  # code that closes all files hands on nothing
                os.write(self._memory, f"{json.dumps(noted)}\n".encode())

    def handed_on(self) -> Iterator[Any]:
        """Yield what copies have handed on since this was last asked for."""
        if self._memory is None or self.in_child:
            return
        with open(self._memory, "rb", closefd=False) as file:
            file.seek(0)
            lines = file.read().splitlines()
            file.seek(0)
        os.ftruncate(self._memory, 0)
        yield from (json.loads(line) for line in lines)

    def _share(self) -> None:
        if self._memory is None and hasattr(os, "memfd_create"):
            self._memory = os.memfd_create("titrant")

    def _begin(self) -> None:
        self.in_child = True

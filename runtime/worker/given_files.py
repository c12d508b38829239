"""Check that the files in a step's parameters are what was planned with, before the step and after it."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, StaleError
from titrant.schema.plan import files_in
from titrant.schema.values.files import FileState, digest_bytes, digest_file, state_of


class GivenFiles:
    """Digests files and folders named in parameters, once while they stay as they are."""

    def __init__(self) -> None:
        self._by_file: dict[tuple[Any, ...], str] = {}

    def check(self, params: Any) -> Mapping[Path, FileState]:
        """Return in what state each file and folder is whose content is what was planned with.

        Raises StaleError X350 for the first one whose content is not.
        """
        states = {}
        for path, digest in _given(params):
            states[path] = state_of(path)
            if self._digest(path) != digest:
                raise _changed(f"{path} changed after the plan was made")
        return states

    def check_still(self, params: Any, states: Mapping[Path, FileState]) -> None:
        """Raise StaleError X350 for the first file or folder that is in another state than `check` found.

        Another state and the same content is a file that was another one meanwhile: nobody knows which was read.
        """
        for path, digest in _given(params):
            if state_of(path) != states[path] or self._digest(path) != digest:
                raise _changed(f"{path} changed while a step read it")

    def _digest(self, path: Path) -> str:
        if path.is_dir():
            return _folder_digest(path, self._file)
        return self._file(path) if path.exists() else ""

    def _file(self, path: Path) -> str:
        state = path.stat()
        key = (path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if key not in self._by_file:
            self._by_file[key] = digest_file(path)
        return self._by_file[key]


def _given(params: Any) -> Iterator[tuple[Path, str]]:
    return ((Path(file["path"]), file["digest"]) for _, file in files_in(params))


def _changed(message: str) -> StaleError:
    return StaleError(Diagnostic("X350", message, help="plan and run again, and let the file be while titrant runs"))


def _folder_digest(folder: Path, digest: Callable[[Path], str]) -> str:
    """Digest a folder as planning does: its sorted relative names, each with the digest of its file."""
    files = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    lines = (f"{file.relative_to(folder).as_posix()}\0{digest(file)}\n" for file in files)
    return digest_bytes("".join(sorted(lines)).encode("utf-8", "surrogateescape"))

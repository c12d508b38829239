"""Check that the files which a step is given still hold what its key says."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from titrant.schema.diagnostics import Diagnostic, StaleError
from titrant.schema.file_digest import digest_bytes, digest_file
from titrant.schema.file_param import files_in


class GivenFiles:
    """Digests files and folders named in parameters, once while they stay as they are."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], str] = {}

    def check(self, params: Any) -> None:
        """Raise StaleError X350 for the first file or folder whose content is not what was planned with."""
        for _, file in files_in(params):
            path = Path(file["path"])
            if self._digest(path) != file["digest"]:
                raise StaleError(
                    Diagnostic(
                        "X350",
                        f"{path} changed after the plan was made",
                        help="plan and run again, and let the file be while titrant runs",
                    )
                )

    def _digest(self, path: Path) -> str:
        if path.is_dir():
            return _folder_digest(path, self._file)
        return self._file(path) if path.exists() else ""

    def _file(self, path: Path) -> str:
        state = path.stat()
        key = (path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if key not in self._known:
            self._known[key] = digest_file(path)
        return self._known[key]


def _folder_digest(folder: Path, digest: Callable[[Path], str]) -> str:
    """Digest a folder as planning does: its sorted relative names, each with the digest of its file."""
    files = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    lines = (f"{file.relative_to(folder).as_posix()}\0{digest(file)}\n" for file in files)
    return digest_bytes("".join(sorted(lines)).encode())

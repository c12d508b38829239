"""BLAKE3 digests of files and folders, kept between runs for files that cannot have changed."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from titrant.compiler.remember import remembered
from titrant.schema.atomic import write_bytes
from titrant.schema.file_digest import digest_bytes, digest_file
from titrant.schema.frozen import dataclass

# A file touched this short a time before it was read may change again within the clock's grain.
YOUNG_NS = 2_000_000_000
_KEPT = 100_000


@dataclass(frozen=True)
class DigestedFile:
    """A file or folder that the recipe names, and the digest of its content."""

    path: Path
    digest: str

    def as_param(self) -> dict[str, str]:
        """Write it as steps hold it: only the digest enters keys and the plan's identity."""
        return {"path": str(self.path), "digest": self.digest}


class FileDigests:
    """Digests by (device, inode, size, mtime_ns, ctime_ns), remembered in a JSON file.

    A file that changed less than two seconds before it was read is digested again next time: within that time a
    second change could leave all five as they were. A cache that cannot be read is begun anew.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._known = _load(memory)
        self._fresh = False

    def of(self, path: Path) -> str:
        """Digest a file, or a folder by its manifest, as 64 hexadecimal digits; OSError when it cannot be read."""
        return self._folder(path) if path.is_dir() else self._file(path)

    def save(self) -> None:
        """Write what was learned, by rename; a disk that refuses costs only time."""
        if self._memory is None or not self._fresh:
            return
        newest = dict(list(self._known.items())[-_KEPT:])
        with suppress(OSError):
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self._memory, json.dumps(newest).encode(), durable=False)
        self._fresh = False

    def _file(self, path: Path) -> str:
        state = path.stat()
        key = f"{state.st_dev}:{state.st_ino}:{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}"
        known = self._known.get(key)
        if known is not None:
            return known
        now = time.time_ns()
        digest = digest_file(path)
        if now - max(state.st_mtime_ns, state.st_ctime_ns) > YOUNG_NS:
            self._known[key] = digest
            self._fresh = True
        return digest

    def _folder(self, path: Path) -> str:
        lines = []
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in files:
                file = Path(folder, name)
                lines.append(f"{file.relative_to(path).as_posix()}\0{self._file(file)}\n")
        return digest_bytes("".join(sorted(lines)).encode())


def _load(memory: Path | None) -> dict[str, str]:
    known = remembered(memory) if memory is not None else {}
    return {key: digest for key, digest in known.items() if isinstance(digest, str)}

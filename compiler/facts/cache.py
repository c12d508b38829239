"""BLAKE3 digests of files, folders and headers of large weights, kept between runs while a file cannot have changed.

Also carries a kept answer over to a copy of the recipe's folder, and gives errors from a child process their lines.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from blake3 import blake3

from titrant.schema.values.dependencies import relocated
from titrant.schema.values.files import digest_bytes, digest_file, files_below, remembered, write_bytes
from titrant.schema.values.frozen import dataclass

# A file touched this short a time before it was read may change again within the clock's grain.
YOUNG_NS = 2_000_000_000
_KEPT = 100_000

# A smaller file is digested whole in less time than a header takes to be read with care.
LARGE_BYTES = 256 << 20
PREFIX = "header-"
_MOST_HEADER_BYTES = 100_000_000


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
        self._digests = _load(memory)
        self._fresh = False

    def of(self, path: Path) -> str:
        """Digest a file, or a folder by its manifest, as 64 hexadecimal digits; OSError when it cannot be read."""
        return self._folder(path) if path.is_dir() else self._file(path)

    def save(self) -> None:
        """Write what was learned, by rename; a disk that refuses costs only time."""
        if self._memory is None or not self._fresh:
            return
        newest = dict(list(self._digests.items())[-_KEPT:])
        with suppress(OSError):
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self._memory, json.dumps(newest).encode(), durable=False)
        self._fresh = False

    def _file(self, path: Path) -> str:
        state = path.stat()
        key = f"{state.st_dev}:{state.st_ino}:{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}"
        kept = self._digests.get(key)
        if kept is not None:
            return kept
        now = time.time_ns()
        digest = digest_file(path)
        if now - max(state.st_mtime_ns, state.st_ctime_ns) > YOUNG_NS:
            self._digests[key] = digest
            self._fresh = True
        return digest

    def _folder(self, path: Path) -> str:
        lines = []
        for file in files_below(path):
            # A link to nothing, or what no reader can finish, is there by its name only.
            digest = self._file(file) if file.is_file() else ""
            lines.append(f"{file.relative_to(path).as_posix()}\0{digest}\n")
        return digest_bytes("".join(sorted(lines)).encode("utf-8", "surrogateescape"))


def _load(memory: Path | None) -> dict[str, str]:
    kept = remembered(memory) if memory is not None else {}
    return {key: digest for key, digest in kept.items() if isinstance(digest, str)}


def header_digest(path: Path) -> str | None:
    """Digest the header of a large weights file as "header-…"; None for a file that is small or has none.

    A safetensors file has its header in front; a .pt file is a zip archive, whose directory, with the check sums of all
    values, and pickle stand for it. None also for a file that cannot be read: whoever digests it whole says so.
    """
    try:
        size = path.stat().st_size
        if size < LARGE_BYTES:
            return None
        header = _safetensors(path) if path.suffix == ".safetensors" else _archive(path)
    except OSError:
        return None
    if header is None:
        return None
    return PREFIX + blake3(header + str(size).encode()).hexdigest()


def _safetensors(path: Path) -> bytes | None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return file.read(length) if length <= _MOST_HEADER_BYTES else None


def _archive(path: Path) -> bytes | None:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            entries = [(entry.filename, entry.file_size, entry.CRC) for entry in archive.infolist()]
            pickles = [archive.read(name) for name, *_ in entries if name.endswith("data.pkl")]
    except (zipfile.BadZipFile, NotImplementedError):
        return None
    return repr(entries).encode() + b"".join(pickles)


def movable(kept: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a kept answer with where the recipe stood, and the modules that could be imported from there."""
    return {**kept, "folder": str(folder.resolve()), "modules": _modules(folder)}


def moved(kept: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a movable answer as one about `folder`: what it depends on below the old folder is expected below the new.

    Empty where there is none, and where other modules stand in `folder`: an import could find another one there.
    """
    try:
        old = Path(kept["folder"])
        if kept["modules"] != _modules(folder):
            return {}
        below = partial(_below, old, folder)
        files = [{**item, "path": relocated(item["path"], below)} for item in kept["dependencies"]]
    except (KeyError, TypeError, OSError):
        return {}
    answer = {part: value for part, value in kept.items() if part not in {"folder", "modules"}}
    return {**answer, "dependencies": files}


def _modules(folder: Path) -> list[str]:
    """Name what Python can import from a folder: files of Python and folders."""
    return sorted(
        path.name for path in folder.iterdir() if path.suffix == ".py" or (path.is_dir() and path.name.isidentifier())
    )


def _below(old: Path, new: Path, path: str) -> str:
    return str(new / Path(path).relative_to(old)) + "/" * path.endswith("/") if Path(path).is_relative_to(old) else path

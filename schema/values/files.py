"""Digest files, write them whole or not at all, append lines, keep answers as JSON, and find titrant's own folder."""

import errno
import hashlib
import json
import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from titrant.schema.values.canonical import indented_json, json_text, plain
from titrant.schema.values.text import printable

# A file descriptor that is opened without it turns line ends into others on Windows.
BINARY = getattr(os, "O_BINARY", 0)
_SEAL = "sealed"  # the digest of all else that a remembered answer holds
_MAP_BYTES = 1 << 20
_WINDOW_BYTES = 128 << 20
# How a file of weights ends that a factory's module is given.
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".th", ".ckpt", ".bin", ".index.json")
YAML_SUFFIXES = (".yaml", ".yml")
# How a lock's name ends, the one that is written first.
LOCK_SUFFIXES = tuple(f".lock{suffix}" for suffix in YAML_SUFFIXES)

# Device, inode, size and time of change of a file; of a folder those of every file below it; () of nothing.
FileState = tuple[Any, ...]


def digest_bytes(data: bytes) -> str:
    """Digest bytes, as 64 hexadecimal digits."""
    from blake3 import blake3

    return blake3(data).hexdigest()


def digest_file(path: Path) -> str:
    """Digest one file's content, using every core for large files; OSError when it cannot be read."""
    if path.stat().st_size < _MAP_BYTES:
        return digest_bytes(path.read_bytes())
    from blake3 import blake3

    hasher = blake3(max_threads=blake3.AUTO)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for offset in range(0, size, _WINDOW_BYTES):
            length = min(_WINDOW_BYTES, size - offset)
            # A window at a time: a map of the whole file would count as this process's memory, however large it is.
            with mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ, offset=offset) as window:
                hasher.update(window)
    return hasher.hexdigest()


def files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield every entry below a folder that is no folder, in the order of names, also what is no regular file.

    Links are followed, but into no folder that they already lead through (`above`, resolved). OSError where a folder
    cannot be read.
    """
    way = (*above, folder.resolve())
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir():
            yield entry
        elif not entry.is_symlink() or entry.resolve() not in way:
            yield from files_below(entry, way)


def state_of(path: Path) -> FileState:
    """Return what changes where somebody writes to a file or puts another in its place; of a folder, of all below it.

    () where nothing is there.
    """
    try:
        if path.is_dir():
            return tuple((str(file), *state_of(file)) for file in files_below(path))
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write beside the target, flush to disk, rename.

    What need not survive a power cut, such as a cache, is not `durable`: the disk is not waited for. A link is
    followed, so that it still leads to the file. A file that is there keeps its permissions; a new one has those of the
    umask. Raises OSError; the file is then as it was.
    """
    try:
        target = path.resolve()
    except (RuntimeError, ValueError) as error:  # links in a ring; a null character
        raise OSError(str(error)) from None
    if target.is_symlink():  # links in a ring, of which Python 3.13 says nothing
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    unfinished = target.with_name(f".{target.name[:100]}.{os.getpid()}")
    try:
        with unfinished.open("wb") as handle:
            handle.write(data)
            if durable:
                handle.flush()
                os.fsync(handle.fileno())
        if target.exists():
            unfinished.chmod(stat.S_IMODE(target.stat().st_mode))
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys."""
    write_bytes(path, f"{printable(indented_json(plain(value)))}\n".encode())


def append_line(path: Path, line: bytes, *, durable: bool) -> None:
    """Write a line in one call, so that lines of two processes do not mix; a line cut short by a crash is ended first.

    `line` has no line end. A `durable` one is on the disk when this returns. Raises OSError.
    """
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | BINARY, 0o644)
    try:
        size = os.fstat(file).st_size
        os.lseek(file, max(0, size - 1), os.SEEK_SET)
        torn = size > 0 and os.read(file, 1) != b"\n"
        os.write(file, b"\n" * torn + line + b"\n")
        if durable:
            os.fsync(file)
    finally:
        os.close(file)


def json_object(path: Path) -> dict[str, Any] | None:
    """Return the object that a file holds; None where it holds none or cannot be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def remember(place: Path, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Write an answer of JSON types by rename, with a digest of it, and return it as it will be read back.

    A disk that refuses costs only asking again next time.
    """
    # Each part is written once: an answer about a large model has megabytes.
    parts = {name: json_text(part) for name, part in answer.items()}
    text = _joined(parts)
    sealed = _joined({**parts, _SEAL: json_text(hashlib.sha256(text.encode()).hexdigest())})
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(place, sealed.encode(), durable=False)
    return cast("dict[str, Any]", json.loads(text))


def _joined(parts: Mapping[str, str]) -> str:
    """Write the canonical JSON of an object, of the canonical JSON of its parts."""
    return "{" + ",".join(f"{json_text(name)}:{parts[name]}" for name in sorted(parts)) + "}"


def remembered(place: Path) -> dict[str, Any]:
    """Read an answer back; empty where there is none, the file holds none, or it was damaged since it was written.

    Earlier versions wrote no digest: whoever reads what they wrote checks its form.
    """
    answer = json_object(place) or {}
    seal = answer.pop(_SEAL, None)
    with suppress(ValueError):  # an infinite number, which nobody wrote
        return answer if seal is None or seal == hashlib.sha256(json_text(answer).encode()).hexdigest() else {}
    return {}


def home_path() -> Path:
    """Return $TITRANT_HOME, or .titrant in the current folder, as an absolute path; it need not be there."""
    given = Path(os.environ.get("TITRANT_HOME") or ".titrant")
    with suppress(RuntimeError):  # `~somebody` where there is no such user
        given = given.expanduser()
    return given.absolute()


def is_lock(name: str) -> bool:
    """Whether a file of this name is a lock: the name beside `x.yaml` is `x.lock.yaml`."""
    return name.endswith(LOCK_SUFFIXES)

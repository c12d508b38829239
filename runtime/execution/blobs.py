"""Files by the BLAKE3 digest of their content: written by rename, verified when read."""

import os
from pathlib import Path

from titrant.schema.file_digest import digest_bytes, digest_file
from titrant.schema.frozen import dataclass

_SEAL_EPOCH = 946_684_800  # 2000-01-01


class DamagedError(Exception):
    """A blob is missing, or its content does not have its digest: whoever needs it must have it made again."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(f"the stored file {digest} is missing or damaged")


@dataclass(frozen=True)
class Blob:
    """A stored file: digest (hexadecimal) and size in bytes."""

    digest: str
    size: int


class Blobs:
    """The files below one folder.

    A blob that was seen intact carries a seal: a modification time in the past that follows from its digest, which any
    later write undoes. `has` trusts the seal; `open` reads and digests the content, once in a process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._verified: dict[str, tuple[int, ...]] = {}

    def path(self, digest: str) -> Path:
        """Return where a blob lies, whether or not it is there."""
        return self._folder / digest[:2] / digest

    def has(self, blob: Blob) -> bool:
        """Tell whether a blob is there and unchanged since it was last seen intact."""
        try:
            state = self.path(blob.digest).stat()
        except FileNotFoundError:
            return False
        if state.st_size != blob.size:
            return False
        return state.st_mtime == _seal(blob.digest) or self._intact(blob.digest)

    def open(self, blob: Blob) -> Path:
        """Return the path of a blob whose content has been verified; DamagedError otherwise."""
        path = self.path(blob.digest)
        try:
            intact = self._verified.get(blob.digest) == _state(path) or self._intact(blob.digest)
        except FileNotFoundError:
            intact = False
        if not intact:
            raise DamagedError(blob.digest)
        return path

    def read(self, digest: str) -> bytes:
        """Return a blob's verified content; DamagedError otherwise."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise DamagedError(digest) from None
        if digest_bytes(data) != digest:
            raise DamagedError(digest)
        return data

    def adopt(self, file: Path) -> Blob:
        """Move a finished file of the same file system into the store, unless its content is there already."""
        blob = Blob(digest_file(file), file.stat().st_size)
        target = self.path(blob.digest)
        if self.has(blob) and self._refresh(blob.digest):
            file.unlink()
            return blob
        target.parent.mkdir(parents=True, exist_ok=True)
        file.chmod(0o444)
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        _stamp(file, blob.digest)
        file.replace(target)
        self._verified[blob.digest] = _state(target)
        return blob

    def _refresh(self, digest: str) -> bool:
        """Let a blob count as put just now, so that cleaning leaves it; False when it went away meanwhile."""
        path = self.path(digest)
        try:
            verified = self._verified.get(digest) == _state(path)
            _stamp(path, digest)
            if verified:
                self._verified[digest] = _state(path)
        except FileNotFoundError:
            return False
        return True

    def _intact(self, digest: str) -> bool:
        path = self.path(digest)
        if digest_file(path) != digest:
            return False
        if path.stat().st_mtime != _seal(digest):
            _stamp(path, digest)
        self._verified[digest] = _state(path)
        return True


def _seal(digest: str) -> int:
    """Return a time in whole seconds, which every file system can hold, in the years 2000 to 2008."""
    return _SEAL_EPOCH + int(digest[:7], 16)


def _stamp(path: Path, digest: str) -> None:
    os.utime(path, (_seal(digest), _seal(digest)))


def _state(path: Path) -> tuple[int, ...]:
    state = path.stat()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns

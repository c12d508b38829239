"""Artifacts by content: files under the BLAKE3 digests of their content, and manifests of what an artifact is made of.

Files are written by rename and verified when read; loaded values stay in memory, so that the worker loads none twice.
"""

import json
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.backends import kinds
from titrant.runtime.store.home import Home
from titrant.runtime.store.locks import unfinished_folder
from titrant.schema.record import Artifact
from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.files import digest_bytes, digest_file
from titrant.schema.values.frozen import dataclass

KEPT_BYTES = 2 << 30
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
        self.disk_seconds = 0.0  # that files which were put here took to reach the disk

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
        begun = time.perf_counter()
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        self.disk_seconds += time.perf_counter() - begun
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


@dataclass(frozen=True)
class Manifest:
    """What an artifact is made of: its kind, and its files by their path within it."""

    kind: str
    files: Mapping[str, Blob]


class Store:
    """The artifacts of one home; several processes may use it at once."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._blobs = Blobs(home.store / "blake3")

    @property
    def disk_seconds(self) -> float:
        """Seconds that this process waited for the disk while it put artifacts here."""
        return self._blobs.disk_seconds

    def put(self, kind: str, value: Any) -> Artifact:
        """Save a value; the same content gives the same artifact and is kept once."""
        with unfinished_folder(self._home, "put") as folder:
            kinds.save(kind, value, folder)
            return self._adopt(kind, folder)

    def get(self, artifact: Artifact, folder: Path) -> Any:
        """Load a value after verifying its files, which come to lie in `folder` (made here).

        The folder must outlive a value that refers to files, and its files may not be written: they are the store's
        own. Raises DamagedError when something is missing or damaged.
        """
        self.materialize(artifact, folder)
        return kinds.load(artifact.kind, folder)

    def value(self, artifact: Artifact) -> Any:
        """Read an artifact of kind `value`; DamagedError when it is missing or damaged."""
        (blob,) = self.manifest(artifact).files.values()
        return json.loads(self._blobs.read(blob.digest))

    def has(self, artifact: Artifact) -> bool:
        """Tell whether an artifact is there, complete and unchanged since it was last seen intact."""
        try:
            return all(self._blobs.has(blob) for blob in self.manifest(artifact).files.values())
        except DamagedError:
            return False

    def manifest(self, artifact: Artifact) -> Manifest:
        """Read what an artifact is made of; DamagedError when that is missing or damaged."""
        value = json.loads(self._blobs.read(artifact.digest))
        return Manifest(value["kind"], {name: Blob(**blob) for name, blob in value["files"].items()})

    def blob(self, artifact: Artifact, file: str) -> Path | None:
        """Return the place of one verified file, None where there is none of this name; DamagedError for a damaged."""
        blob = self.manifest(artifact).files.get(file)
        return None if blob is None else self._blobs.open(blob)

    def materialize(self, artifact: Artifact, folder: Path, *, copy: bool = False) -> None:
        """Put an artifact's verified files into a folder, as links to the store's own or, with `copy`, as copies.

        Raises DamagedError when a file is missing or damaged, also when a copy does not have the digest.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, blob in self.manifest(artifact).files.items():
            source, target = self._blobs.open(blob), folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                if copy:
                    copy_verified(source, target, blob.digest)
                else:
                    _link(source, target)
            except FileNotFoundError:  # the store was cleaned since
                raise DamagedError(blob.digest) from None

    def forget(self, digest: str) -> None:
        """Remove a damaged blob, so that whoever looks for it has it made again."""
        self._blobs.path(digest).unlink(missing_ok=True)

    def _adopt(self, kind: str, folder: Path) -> Artifact:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        blobs = {path.relative_to(folder).as_posix(): self._blobs.adopt(path) for path in files}
        manifest = folder / "manifest"
        manifest.write_bytes(_manifest_bytes(kind, blobs))
        digest = self._blobs.adopt(manifest).digest
        return Artifact(kind, digest, sum(blob.size for blob in blobs.values()))


def identify_value(value: Any) -> Artifact:
    """Return the artifact that a JSON value would be stored as, without storing it."""
    data = kinds.encode(value)
    manifest = _manifest_bytes("value", {kinds.VALUE_FILE: Blob(digest_bytes(data), len(data))})
    return Artifact("value", digest_bytes(manifest), len(data))


def copy_verified(source: Path, target: Path, digest: str) -> None:
    """Copy a file for others to keep and verify the copy; DamagedError when it does not have the digest."""
    shutil.copyfile(source, target)
    if digest_file(target) != digest:
        target.unlink()
        raise DamagedError(digest)
    with target.open("rb") as handle:
        os.fsync(handle.fileno())


def _manifest_bytes(kind: str, blobs: Mapping[str, Blob]) -> bytes:
    return canonical_json({"kind": kind, "files": blobs}).encode()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:  # no hard links here
        shutil.copyfile(source, target)
        target.chmod(0o444)


@dataclass(frozen=True)
class Live:
    """A value with its size as stored, and the user's modules that it lives on."""

    value: Any
    size: int
    modules: frozenset[str] = frozenset()


class LiveValues:
    """The most recently used values by artifact digest, up to a total of stored bytes; the newest always stays."""

    def __init__(self, store: Store, folder: Path, limit: int = KEPT_BYTES) -> None:
        self._store = store
        self._folder = folder
        self._limit = limit
        self._values: OrderedDict[str, Live] = OrderedDict()

    def find(self, artifact: Artifact) -> Live | None:
        """Return a kept value."""
        if artifact.digest not in self._values:
            return None
        self._values.move_to_end(artifact.digest)
        return self._values[artifact.digest]

    def load(self, artifact: Artifact) -> Any:
        """Load a value from the store, verified; the caller keeps it."""
        return self._store.get(artifact, self._folder / artifact.digest)

    def keep(self, artifact: Artifact, value: Any, modules: frozenset[str] = frozenset()) -> None:
        """Keep a value and let go of the longest unused ones beyond the limit.

        A value that refers to files is kept as loaded from the store: its own files are about to go. Any other is kept
        as loading would give it: what reads it must not round otherwise for finding it here.
        """
        if artifact.kind == "value" or kinds.refers_to_files(artifact.kind):
            value = self.load(artifact)
        else:
            value = kinds.as_loaded(artifact.kind, value)
        self._values[artifact.digest] = Live(value, artifact.size, modules)
        self._values.move_to_end(artifact.digest)
        while len(self._values) > 1 and sum(live.size for live in self._values.values()) > self._limit:
            self.drop(next(iter(self._values)))

    def drop(self, digest: str) -> None:
        """Let go of a value, as after somebody consumed it."""
        if self._values.pop(digest, None) is not None:
            shutil.rmtree(self._folder / digest, ignore_errors=True)

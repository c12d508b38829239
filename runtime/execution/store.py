"""Artifacts by content: a manifest of files, itself a file, all under their BLAKE3 digests."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from titrant.runtime import kinds
from titrant.runtime.execution.blobs import Blob, Blobs, DamagedError
from titrant.runtime.execution.home import Home, unfinished_folder
from titrant.schema.artifact import Artifact
from titrant.schema.canonical import canonical_json
from titrant.schema.file_digest import digest_bytes, digest_file
from titrant.schema.frozen import dataclass


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

    def put(self, kind: str, value: Any) -> Artifact:
        """Save a value; the same content gives the same artifact and is kept once."""
        folder = unfinished_folder(self._home, "put")
        try:
            kinds.save(kind, value, folder)
            return self._adopt(kind, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

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
    from titrant.runtime.kinds.value import FILE, encode

    data = encode(value)
    manifest = _manifest_bytes("value", {FILE: Blob(digest_bytes(data), len(data))})
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

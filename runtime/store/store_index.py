"""List what a home's store holds: every file, every result, and what each refers to."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.store.home import Home
from titrant.schema.values.canonical import plain, sha256
from titrant.schema.values.files import json_object
from titrant.schema.values.frozen import dataclass

KEY_FILE = "key.json"
REFUSED = "refused-"
_SEAL = "digest"  # of everything else that a result file holds
Tell = Callable[[str, int, int], None]  # what is done, how much of it, out of how much
_DIGEST = re.compile(rb"[0-9a-f]{64}")
_NAME = re.compile(r"[0-9a-f]{64}")
# A manifest lists names, digests and sizes: no model has so many files that it would be larger.
_MANIFEST_BYTES = 16 << 20


@dataclass(frozen=True)
class StoredFile:
    """A file of the store: where it lies, its size in bytes, and when it was last put or read (seconds since 1970)."""

    path: Path
    size: int
    touched: float


@dataclass(frozen=True)
class StoredResult:
    """One result file of a step key; `outputs` are artifact digests, None where the file cannot be read."""

    path: Path
    operator: str
    outputs: tuple[str, ...] | None
    changed: str = ""  # how the file differs from what was written


@dataclass(frozen=True)
class StoredKey:
    """A step key's folder: its results, when it was last used, and the digests of what the step read."""

    key: str
    folder: Path
    used: float
    results: tuple[StoredResult, ...]
    inputs: tuple[str, ...]

    @property
    def operator(self) -> str:
        """The operator, "" where no result can be read."""
        return next((result.operator for result in self.results if result.operator), "")


def ignore_progress(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def files(home: Home) -> dict[str, StoredFile]:
    """List the store's files by the digest that names them; other files are not ours."""
    stored = {}
    for shelf in _entries(home.store / "blake3"):
        for entry in _entries(shelf.path):
            if _NAME.fullmatch(entry.name):
                state = entry.stat()
                stored[entry.name] = StoredFile(Path(entry.path), state.st_size, state.st_ctime)
    return stored


def keys(home: Home, tell: Tell = ignore_progress) -> Iterator[StoredKey]:
    """Read the results of every key; a key whose folder goes away meanwhile is left out."""
    folders = [entry.path for entry in _entries(home.results) if entry.is_dir()]
    for done, folder in enumerate(sorted(folders)):
        tell("reading results", done, len(folders))
        try:
            yield _key(Path(folder))
        except FileNotFoundError:
            continue
    tell("reading results", len(folders), len(folders))


def _key(folder: Path) -> StoredKey:
    names = sorted(path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith("."))
    results = tuple(_result(path) for path in names if path.name != KEY_FILE)
    inputs = _texts((json_object(folder / KEY_FILE) or {}).get("inputs", {}))
    return StoredKey(folder.name, folder, last_use(folder), results, tuple(inputs))


def _result(path: Path) -> StoredResult:
    value = json_object(path)
    if value is None or value.get("key") != path.parent.name:
        return StoredResult(path, "", None)
    try:
        outputs = tuple(str(output["digest"]) for output in value.get("outputs", {}).values())
        return StoredResult(path, str(value["operator"]), outputs, changed_since(path, value))
    except (KeyError, TypeError, AttributeError):
        return StoredResult(path, "", None)


def sealed(value: object) -> dict[str, Any]:
    """Return what a result file holds: the result or refusal, and the digest of all of it."""
    said: dict[str, Any] = plain(value)
    return {**said, _SEAL: sha256(said)}


def result_name(value: Mapping[str, Any]) -> str:
    """Return the name of the file that holds a result or a refusal, given as JSON types: a digest of what it says."""
    said = {name: item for name, item in value.items() if name != _SEAL}
    if "outputs" not in said:
        return f"{REFUSED}{sha256(said)}.json"
    return f"{sha256({'outputs': said['outputs'], 'dependencies': said.get('dependencies', [])})}.json"


def changed_since(path: Path, value: Mapping[str, Any]) -> str:
    """Say how a result file differs from what was written: by its name, its key or its digest; "" where it does not.

    Earlier versions wrote no digest; their results are told by name and key alone.
    """
    if value.get("key") != path.parent.name:
        return "it is the result of another key"
    if result_name(value) != path.name:
        return "it was changed since it was written: it does not give the digest that names it"
    if _SEAL in value and value[_SEAL] != sha256({name: item for name, item in value.items() if name != _SEAL}):
        return "it was changed since it was written: its digest is that of another result"
    return ""


def contents(digest: str, there: Mapping[str, StoredFile]) -> tuple[str, ...] | None:
    """Return the files that an artifact is made of; None when its manifest is not there or cannot be read."""
    manifest = there.get(digest)
    if manifest is None or manifest.size > _MANIFEST_BYTES:
        return None
    value = json_object(manifest.path)
    try:
        return None if value is None else tuple(str(file["digest"]) for file in value["files"].values())
    except (KeyError, TypeError, AttributeError):
        return None


def mentioned(documents: Iterable[Path]) -> set[str]:
    """Return every digest and step key that some files mention; a file that is not there mentions none."""
    digests: set[str] = set()
    for document in documents:
        try:
            digests.update(digest.decode() for digest in _DIGEST.findall(document.read_bytes()))
        except OSError:
            continue
    return digests


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def last_use(folder: Path) -> float:
    """Return when a result was last used or made, in seconds since 1970, as exactly as SLACK_SECONDS."""
    return folder.stat().st_mtime

"""What steps gave, by step key: found again only while everything that it depends on is as it was."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from titrant.runtime.execution import atomic
from titrant.runtime.execution.home import Home
from titrant.runtime.execution.json_object import json_object
from titrant.runtime.execution.keys import StepKey
from titrant.runtime.execution.last_use import used
from titrant.runtime.execution.store import Store
from titrant.runtime.execution.user_files import first_changed
from titrant.schema.canonical import sha256
from titrant.schema.frozen import dataclass
from titrant.schema.read_back import WrongValueError, read_back
from titrant.schema.record import Dependency, StepResult

T = TypeVar("T")

_KEY_FILE = "key.json"
_REFUSED = "refused-"


@dataclass(frozen=True)
class Refusal:
    """An operator refused its inputs: it would again, as long as its key and the user's files stay the same."""

    key: str
    operator: str
    code: str
    message: str
    help: str = ""
    dependencies: tuple[Dependency, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a look-up gave: a result, a refusal, or neither with the reason, "" where nothing was ever kept."""

    result: StepResult | None = None
    refusal: Refusal | None = None
    because: str = ""


class Results:
    """The results of one home; `folder` is the recipe's, to which dependencies are relative.

    Without `reuse` nothing is found and nothing is kept: every step runs, and what is there stays as it is.
    """

    def __init__(self, home: Home, store: Store, folder: Path, *, reuse: bool = True) -> None:
        self.home = home
        self._folder = home.results
        self._store = store
        self._recipe_folder = folder
        self._reuse = reuse

    def find(self, key: str) -> Found:
        """Look for a result whose dependencies are unchanged and whose artifacts are all in the store."""
        if not self._reuse:
            return Found()
        because = ""
        for path in self._files(key):
            value = json_object(path)
            if value is None:
                continue
            found = _refusal(value) if path.name.startswith(_REFUSED) else _result(value)
            if found is None or found.key != key:
                continue
            changed = first_changed(found.dependencies, self._recipe_folder)
            if changed is not None:
                because = f"{changed.path} changed"
            elif isinstance(found, Refusal):
                return Found(refusal=found)
            elif all(self._store.has(artifact) for artifact in found.outputs.values()):
                used(path.parent)
                return Found(result=found)
            else:
                because = "its output is missing or damaged in the store"
        return Found(because=because)

    def keep(self, key: StepKey, result: StepResult) -> bool:
        """Keep a result; returns True when another one with the same key and dependencies gave other outputs."""
        if not self._reuse:
            return False
        identity = {"outputs": result.outputs, "dependencies": result.dependencies}
        other = any(
            found.dependencies == result.dependencies and dict(found.outputs) != dict(result.outputs)
            for path in self._files(key.digest)
            if not path.name.startswith(_REFUSED) and (found := _result(json_object(path) or {})) is not None
        )
        self._write(key, f"{sha256(identity)}.json", result)
        return other

    def keep_refusal(self, key: StepKey, refusal: Refusal) -> None:
        """Keep that an operator refused its inputs."""
        if not self._reuse:
            return
        self._write(key, f"{_REFUSED}{sha256(refusal)}.json", refusal)

    def parts(self, key: str) -> Mapping[str, Any] | None:
        """Return what a key is the digest of, if it was kept."""
        parts: Mapping[str, Any] | None = json_object(self._folder / key / _KEY_FILE)
        return parts

    def _files(self, key: str) -> Iterator[Path]:
        folder = self._folder / key
        try:
            paths = sorted(folder.iterdir())
        except FileNotFoundError:
            return
        yield from (path for path in paths if path.suffix == ".json" and path.name[0] != "." and path.name != _KEY_FILE)

    def _write(self, key: StepKey, name: str, value: StepResult | Refusal) -> None:
        folder = self._folder / key.digest
        for last in (False, True):
            folder.mkdir(exist_ok=True)
            try:
                if not (folder / _KEY_FILE).exists():
                    atomic.write_json(folder / _KEY_FILE, key.parts)
                atomic.write_json(folder / name, value)
                return
            except FileNotFoundError:
                # The store is being cleaned, and the folder of an old result went away in between.
                if last:
                    raise


def result_from(answer: Mapping[str, Any], **fields: Any) -> StepResult:
    """Make a result from a worker's answer."""
    return read_back(StepResult, {**answer, **fields})


def _result(value: Mapping[str, Any]) -> StepResult | None:
    return _parsed(StepResult, value)


def _refusal(value: Mapping[str, Any]) -> Refusal | None:
    return _parsed(Refusal, value)


def _parsed(kind: type[T], value: Mapping[str, Any]) -> T | None:
    try:
        return read_back(kind, value)
    except WrongValueError:
        return None

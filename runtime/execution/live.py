"""Values that the worker keeps, so that nothing is loaded twice."""

import shutil
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titrant.runtime import kinds
from titrant.runtime.execution.store import Store
from titrant.schema.artifact import Artifact

KEPT_BYTES = 2 << 30


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
        if artifact.kind in (*kinds.FILES, "value"):
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

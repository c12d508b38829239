"""What the executor must know of operators, without running a user's code in its own process."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime import catalog
from titrant.runtime.execution import atomic
from titrant.runtime.execution.home import Home
from titrant.runtime.execution.user_files import unchanged
from titrant.schema.frozen import dataclass
from titrant.schema.record import Dependency


@dataclass(frozen=True)
class Described:
    """The part of an operator's declaration that keys and walks need."""

    name: str
    version: int
    determinism: str
    libraries: tuple[str, ...]
    outputs: Mapping[str, str]


class Declarations:
    """Declarations by name: built-in ones from the catalog, a user's from the worker, kept until his files change."""

    def __init__(self, home: Home, folder: Path, ask: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self._home = home
        self._folder = folder
        self._ask = ask
        self._known: dict[str, Described] = {}

    def get(self, name: str) -> Described:
        """Return what is known of an operator; asks the worker for a user's operator that is new or changed."""
        if name not in self._known:
            self._known[name] = self._user(name) if ":" in name else describe(name)
        return self._known[name]

    def _user(self, name: str) -> Described:
        place = hashlib.sha256(f"{self._folder}\n{name}".encode()).hexdigest()
        file = self._home.facts / "operators" / f"{place}.json"
        kept = _read(file)
        if kept is not None and unchanged(_dependencies(kept), self._folder):
            return _described(kept)
        answer = self._ask({"do": "describe", "operator": name})
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(file, answer)
        return _described(answer)


def describe(name: str) -> Described:
    """Describe an operator from the catalog; a `module:Name` imports user code and is for the worker only."""
    found = catalog.get(name)
    return Described(name, found.version, found.determinism, found.libraries, dict(found.outputs))


def _read(file: Path) -> Mapping[str, Any] | None:
    try:
        value = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) and {"operator", "dependencies"} <= set(value) else None


def _described(value: Mapping[str, Any]) -> Described:
    operator = dict(value["operator"])
    return Described(**operator | {"libraries": tuple(operator["libraries"])})


def _dependencies(value: Mapping[str, Any]) -> tuple[Dependency, ...]:
    return tuple(Dependency(**item) for item in value["dependencies"])

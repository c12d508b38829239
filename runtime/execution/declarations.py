"""What the executor must know of operators, without running a user's code in its own process."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime import catalog
from titrant.runtime.execution import atomic
from titrant.runtime.execution.home import Home
from titrant.runtime.execution.json_object import json_object
from titrant.runtime.execution.user_files import unchanged
from titrant.schema.frozen import dataclass
from titrant.schema.read_back import WrongValueError, read_back
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
        kept = _kept(json_object(file) or {}, self._folder)
        if kept is not None:
            return kept
        answer = self._ask({"do": "describe", "operator": name})
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(file, answer)
        return read_back(Described, answer["operator"])


def describe(name: str) -> Described:
    """Describe an operator from the catalog; a `module:Name` imports user code and is for the worker only."""
    found = catalog.get(name)
    return Described(name, found.version, found.determinism, found.libraries, dict(found.outputs))


def _kept(answer: Mapping[str, Any], folder: Path) -> Described | None:
    """Return the description of an earlier answer; None where the code changed since, or it is no such answer."""
    try:
        depends = read_back(tuple[Dependency, ...], answer.get("dependencies"))
        return read_back(Described, answer.get("operator")) if unchanged(depends, folder) else None
    except WrongValueError:
        return None

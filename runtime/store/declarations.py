"""Declarations of operators, a user's too without running his code here, and whether the user's files are unchanged."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime import catalog
from titrant.runtime.store.home import Home
from titrant.schema.record import Dependency
from titrant.schema.values import files
from titrant.schema.values.canonical import WrongValueError, read_back
from titrant.schema.values.dependencies import current_digest
from titrant.schema.values.files import json_object
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Described:
    """The part of an operator's declaration that keys and walks need."""

    name: str
    version: int
    determinism: str
    libraries: tuple[str, ...]
    outputs: Mapping[str, str]
    engines: tuple[str, ...] = ()


class Declarations:
    """Declarations by name: built-in ones from the catalog, a user's from the worker, kept until his files change."""

    def __init__(self, home: Home, folder: Path, ask: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self._home = home
        self._folder = folder
        self._ask = ask
        self._described: dict[str, Described] = {}

    def get(self, name: str) -> Described:
        """Return what is known of an operator; asks the worker for a user's operator that is new or changed."""
        if name not in self._described:
            self._described[name] = self._user(name) if ":" in name else describe(name)
        return self._described[name]

    def _user(self, name: str) -> Described:
        place = hashlib.sha256(f"{self._folder}\n{name}".encode()).hexdigest()
        file = self._home.facts / "operators" / f"{place}.json"
        kept = _kept(json_object(file) or {}, self._folder)
        if kept is not None:
            return kept
        answer = self._ask({"do": "describe", "operator": name})
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(file, answer)
        return read_back(Described, answer["operator"])


def describe(name: str) -> Described:
    """Describe an operator from the catalog; a `module:Name` imports user code and is for the worker only."""
    operator = catalog.get(name)
    outputs = dict(operator.outputs)
    return Described(name, operator.version, operator.determinism, operator.libraries, outputs, operator.engines)


def _kept(answer: Mapping[str, Any], folder: Path) -> Described | None:
    """Return the description of an earlier answer; None where the code changed since, or it is no such answer."""
    try:
        depends = read_back(tuple[Dependency, ...], answer.get("dependencies"))
        return read_back(Described, answer.get("operator")) if unchanged(depends, folder) else None
    except WrongValueError:
        return None


def unchanged(dependencies: Iterable[Dependency], folder: Path) -> bool:
    """Tell whether every file still has its digest; paths within the recipe's folder are relative to it."""
    return first_changed(dependencies, folder) is None


def first_changed(dependencies: Iterable[Dependency], folder: Path) -> Dependency | None:
    """Return the first dependency whose file is not what it was."""
    return next((item for item in dependencies if current_digest(item.path, folder) != item.digest), None)

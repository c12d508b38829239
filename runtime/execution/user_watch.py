"""Watch what of the user's a step depends on: modules loaded, files opened, folders listed."""

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

from titrant.runtime.execution.user_code import Territory, closure, install_loader
from titrant.runtime.execution.user_files import MISSING, PACKAGE, current_digest, dependency_path
from titrant.schema.record import Dependency

_REFERENCE = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_][\w.]*")
_IMPORTLIB = str(Path(importlib.__file__ or "importlib").parent)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class UserWatch:
    """Collects between `watching` and `dependencies`; installed once in a process, since an audit hook stays."""

    def __init__(self, folder: Path, ignored: Iterable[Path] = ()) -> None:
        self._folder = folder
        self._territory = Territory(folder, ignored)
        self._sources: dict[str, str] = {}  # module file → digest of the text that was loaded
        self._read: set[str] = set()
        self._written: set[str] = set()
        self._listed: set[str] = set()
        self._roots: set[str] = set()
        self._before: set[str] = set()  # modules loaded when watching began
        self._active = False

    def install(self) -> None:
        """Begin to see module loads and opened files."""
        install_loader(self._territory, self._loaded)
        original = importlib.import_module

        def import_module(name: str, package: str | None = None) -> Any:
            self._roots.add(name)
            return original(name, package)

        importlib.import_module = import_module
        sys.addaudithook(self._hook)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Collect what happens inside."""
        for collected in (self._read, self._written, self._listed, self._roots):
            collected.clear()
        self._before = set(sys.modules)
        self._active = True
        try:
            yield
        finally:
            self._active = False
            self._roots.update(set(sys.modules) - self._before)

    def roots(self) -> frozenset[str]:
        """Return the user's modules that were asked for since watching began."""
        users = self._territory.modules()
        return frozenset(name for name in self._roots | (set(sys.modules) - self._before) if name in users)

    def dependencies(self, params: Any, carried: Iterable[str] = (), *, files: bool = True) -> tuple[Dependency, ...]:
        """List what the step depends on beside its key; with `files`, also files opened and folders listed.

        `params` are searched for `module:Name` references, and for files, which the key holds already. `carried` are
        modules that came in with a live value.
        """
        named = {match[1] for text in _texts(params) if (match := _REFERENCE.fullmatch(text))}
        modules, packages = closure({*self.roots(), *carried, *named}, self._territory)
        found = {str(path): self._source(path) for path in modules.values()}
        if files:
            found = self._opened(_files(params)) | found
        named_files = {_relative(path, self._folder): digest for path, digest in found.items() if digest != MISSING}
        return tuple(Dependency(*item) for item in sorted((named_files | _versions(packages)).items()))

    def _opened(self, given: set[str]) -> dict[str, str]:
        """Digest the user's files that were read and folders that were listed, but for those that the key holds."""
        files = [path for path in self._read - self._written if Path(path).is_file()]
        seen = files + [f"{path}/" for path in self._listed]
        mine = [path for path in seen if not _below(path.rstrip("/"), given) and self._territory.owns(path)]
        return {path: current_digest(path, self._folder) for path in mine}

    def user_file(self, path: str) -> bool:
        """Tell whether a file is the user's own."""
        return self._territory.owns(path)

    def _loaded(self, path: str, digest: str) -> None:
        self._sources[_absolute(path)] = digest

    def _source(self, path: Path) -> str:
        return self._sources.get(_absolute(path)) or current_digest(str(path), self._folder)

    def _for_import(self, frame: FrameType | None) -> bool:
        """Tell whether the import system is at work: it lists folders and opens modules, which are recorded as such.

        What a user's own line does comes first, also while his module is imported.
        """
        while frame is not None:
            file = frame.f_code.co_filename
            if file.startswith(("<frozen importlib", _IMPORTLIB)):
                return True
            if not file.startswith("<") and self._territory.owns(file):
                return False
            frame = frame.f_back
        return False

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active or event not in ("open", "os.listdir", "os.scandir"):
            return
        path = arguments[0]
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        if self._for_import(sys._getframe(1)):
            return
        place = _absolute(os.fsdecode(path))
        if event != "open":
            self._listed.add(place)
        elif _writes(arguments):
            self._written.add(place)
        else:
            self._read.add(place)


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - links stay as the user wrote them


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return bool(set(mode) & set("wax"))
    return bool(flags & _WRITING)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _files(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        if set(value) == {"path", "digest"}:
            return {_absolute(value["path"])}
        return set().union(*(_files(item) for item in value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*(_files(item) for item in value))
    return set()


def _below(path: str, folders: set[str]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _relative(path: str, folder: Path) -> str:
    slash = "/" if path.endswith("/") else ""
    return dependency_path(Path(path), folder) + slash


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        for distribution in _distributions(name):
            found[PACKAGE + distribution] = metadata.version(distribution)
    return found


def _distributions(package: str) -> tuple[str, ...]:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return tuple(metadata.packages_distributions().get(package, ()))
    return (package,)

"""Watch what of the user's a step depends on: modules loaded, files opened, folders listed.

What a user's module read, it may keep for as long as the process lives: a table read when it was imported, a cached
configuration. So every read counts, from then on, for each of the user's modules that was at work when it happened,
and with the module for every later step that rests on it. Files given as parameters are in the step's key instead, and
are checked before the step runs.
"""

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from titrant.runtime.store.declarations import MISSING, current_digest, dependency_path
from titrant.runtime.user_code import Territory, closure, distributions, install_loader
from titrant.schema.diagnostics.diagnostics import Diagnostic, StaleError
from titrant.schema.plan import files_in
from titrant.schema.record import PACKAGE, Dependency
from titrant.schema.values.distributions import installed_version
from titrant.schema.values.extensions import by_group
from titrant.schema.values.files import digest_bytes, digest_file

_REFERENCE = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_][\w.]*")
_IMPORTLIB = str(Path(importlib.__file__ or "importlib").parent)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _alone(_: ModuleType) -> AbstractContextManager[None]:
    """Load a module with nothing around it."""
    return contextlib.nullcontext()


class UserWatch:
    """Collects between `watching` and `dependencies`; installed once in a process, since an audit hook stays."""

    def __init__(self, folder: Path, ignored: Iterable[Path] = ()) -> None:
        by_group()  # what is installed is looked up before anything is watched: the user did not read it
        self._folder = folder
        self._territory = Territory(folder, ignored)
        self._sources: dict[str, str] = {}  # module file → digest of the text that was loaded
        self._read: set[str] = set()
        self._written: set[str] = set()
        self._listed: set[str] = set()
        self._given: set[str] = set()
        self._readings = ModuleReadings()
        self._roots: set[str] = set()
        self._before: list[str] = []  # modules loaded when watching began
        self._active = False

    def install(self, importing: Callable[[ModuleType], AbstractContextManager[None]] = _alone) -> None:
        """Begin to see module loads and opened files; each of the user's modules is loaded inside `importing`."""
        install_loader(self._territory, self._loaded, importing)
        original = importlib.import_module

        def import_module(name: str, package: str | None = None) -> Any:
            self._roots.add(name)
            return original(name, package)

        importlib.import_module = import_module
        sys.addaudithook(self._hook)

    @contextlib.contextmanager
    def watching(self, params: Any = None) -> Iterator[None]:
        """Collect what happens inside; files that `params` give are in the step's key and are nobody's reading."""
        for collected in (self._read, self._written, self._listed, self._roots):
            collected.clear()
        self._given = _given(params)
        self._before = list(sys.modules)
        self._active = True
        try:
            yield
        finally:
            self._active = False
            self._settle_readings()
            self._roots.update(self._loaded_since())

    def roots(self) -> frozenset[str]:
        """Return the user's modules that were asked for since watching began."""
        asked = self._roots.union(self._loaded_since())
        return frozenset(name for name in asked if self._territory.module(name) is not None)

    def _loaded_since(self) -> Iterable[str]:
        """Return the modules that were loaded since watching began: the last ones, as long as none was taken away.

        To make sets of thousands of names at every step was a seventh of what a small run takes.
        """
        now, count = list(sys.modules), len(self._before)
        return now[count:] if now[:count] == self._before else set(now).difference(self._before)

    def dependencies(self, params: Any, carried: Iterable[str] = (), *, files: bool = True) -> tuple[Dependency, ...]:
        """List what the step depends on beside its key: modules, what those ever read, versions of packages.

        With `files` also files that others than the user's modules opened and folders that they listed. `params` are
        searched for `module:Name` references, and for files, which the key holds already. `carried` are modules that
        came in with a live value.
        """
        self._settle_readings()
        named = {match[1] for text in _texts(params) if (match := _REFERENCE.fullmatch(text))}
        modules, packages = closure({*self.roots(), *carried, *named}, self._territory)
        digests = {str(path): self._source(path) for path in modules.values()}
        digests = self._readings.of(modules) | digests
        if files:
            digests = self._opened(_given(params)) | digests
        named_files = {_relative(path, self._folder): digest for path, digest in digests.items() if digest != MISSING}
        return tuple(Dependency(*item) for item in sorted((named_files | _versions(packages)).items()))

    def files_of(self, module: str) -> dict[str, str]:
        """Return what a user's module and those that it imports have read in this process: path → digest."""
        modules, _ = closure({module}, self._territory)
        return {_relative(path, self._folder): digest for path, digest in self._readings.of(modules).items()}

    def _settle_readings(self) -> None:
        """Digest what modules read, but for what is written as well: that is the user's own cache."""
        self._readings.settle(self._written, lambda path: current_digest(path, self._folder))

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

    def _readers(self, frame: FrameType | None) -> set[str] | None:
        """Return the user's modules that are at work; None for the import system.

        It lists folders and opens modules, which are recorded as such; what a user's own line does comes first, also
        while his module is imported.
        """
        readers: set[str] = set()
        while frame is not None:
            file = frame.f_code.co_filename
            if not readers and file.startswith(("<frozen importlib", _IMPORTLIB)):
                return None
            if not file.startswith("<") and self._territory.owns(file):
                readers.add(str(frame.f_globals.get("__name__", "")))
            frame = frame.f_back
        return readers

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active or event not in ("open", "os.listdir", "os.scandir"):
            return
        path = arguments[0]
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        readers = self._readers(sys._getframe(1))
        if readers is None:
            return
        place = _absolute(os.fsdecode(path))
        if event == "open" and _writes(arguments):
            self._written.add(place)
            return
        (self._read if event == "open" else self._listed).add(place)
        if readers and self._territory.owns(place) and not _below(place, self._given):
            self._readings.add(place if event == "open" else f"{place}/", readers)


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


def _given(params: Any) -> set[str]:
    return {_absolute(file["path"]) for _, file in files_in(params)}


def _below(path: str, folders: set[str]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _relative(path: str, folder: Path) -> str:
    slash = "/" if path.endswith("/") else ""
    return dependency_path(Path(path), folder) + slash


def _versions(packages: Iterable[str]) -> dict[str, str]:
    versions = {}
    for name in packages:
        for distribution in distributions(name):
            versions[PACKAGE + distribution] = installed_version(distribution) or MISSING
    return versions


class ModuleReadings:
    """Reads by module; a path that ends in a slash is a folder that was listed.

    A file counts with the digest that it had when it was first read: what a module made of it then may still be in use,
    and a result that rests on two states of one file must not be found again.
    """

    def __init__(self) -> None:
        self._by_module: dict[str, set[str]] = {}
        self._digests: dict[str, str] = {}
        self._unsettled: dict[str, set[str]] = {}  # path → modules, of what is being watched

    def add(self, path: str, modules: Iterable[str]) -> None:
        """Note that some modules were at work when a path was read."""
        self._unsettled.setdefault(path, set()).update(modules)

    def settle(self, written: set[str], digest: Callable[[str], str]) -> None:
        """Digest what was noted, leaving out what was written too and what is not there."""
        noted, self._unsettled = self._unsettled, {}
        for path, modules in noted.items():
            if path in written or not Path(path).exists():
                continue
            if path not in self._digests:
                self._digests[path] = digest(path)
            for module in modules:
                self._by_module.setdefault(module, set()).add(path)

    def of(self, modules: Iterable[str]) -> dict[str, str]:
        """Return what some modules read: path → digest."""
        paths = set().union(*(self._by_module.get(module, ()) for module in modules))
        return {path: self._digests[path] for path in paths if self._digests[path] != MISSING}


class GivenFiles:
    """Digests files and folders named in parameters, once while they stay as they are."""

    def __init__(self) -> None:
        self._by_file: dict[tuple[Any, ...], str] = {}

    def check(self, params: Any) -> None:
        """Raise StaleError X350 for the first file or folder whose content is not what was planned with."""
        for _, file in files_in(params):
            path = Path(file["path"])
            if self._digest(path) != file["digest"]:
                raise StaleError(
                    Diagnostic(
                        "X350",
                        f"{path} changed after the plan was made",
                        help="plan and run again, and let the file be while titrant runs",
                    )
                )

    def _digest(self, path: Path) -> str:
        if path.is_dir():
            return _folder_digest(path, self._file)
        return self._file(path) if path.exists() else ""

    def _file(self, path: Path) -> str:
        state = path.stat()
        key = (path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if key not in self._by_file:
            self._by_file[key] = digest_file(path)
        return self._by_file[key]


def _folder_digest(folder: Path, digest: Callable[[Path], str]) -> str:
    """Digest a folder as planning does: its sorted relative names, each with the digest of its file."""
    files = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    lines = (f"{file.relative_to(folder).as_posix()}\0{digest(file)}\n" for file in files)
    return digest_bytes("".join(sorted(lines)).encode("utf-8", "surrogateescape"))

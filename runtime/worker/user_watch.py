"""Watch what of the user's a step depends on: modules loaded, files opened, folders listed, variables read.

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
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from titrant.runtime.user_code import Territory, closure, distributions, install_loader
from titrant.runtime.worker.readings import Copies, ModuleReadings, ReadStates, file_state
from titrant.runtime.worker.unaudited import (
    COMMANDS,
    asking_line,
    paths_of_command,
    watch_native_readers,
    watch_presence,
    watch_variables,
)
from titrant.schema.config.secrets import names_a_secret
from titrant.schema.plan import files_in
from titrant.schema.record import Dependency, is_named
from titrant.schema.values.dependencies import (
    CHANGED,
    MISSING,
    PACKAGE,
    PRESENCE,
    VARIABLE,
    current_digest,
    dependency_path,
    relocated,
    variable_digest,
)
from titrant.schema.values.distributions import installed_version
from titrant.schema.values.extensions import by_group
from titrant.schema.values.files import FileState, digest_bytes

_REFERENCE = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_][\w.]*")
_IMPORTLIB = str(Path(importlib.__file__ or "importlib").parent)
_EVENTS = ("open", "os.listdir", "os.scandir", "os.rename", "sqlite3.connect")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _alone(_: ModuleType) -> AbstractContextManager[None]:
    """Load a module with nothing around it."""
    return contextlib.nullcontext()


class UserWatch:
    """Collects between `watching` and `dependencies`; installed once in a process, since an audit hook stays."""

    def __init__(self, folder: Path, ignored: Iterable[Path] = (), variables: Iterable[str] = ()) -> None:
        by_group()  # what is installed is looked up before anything is watched: the user did not read it
        self._folder = folder
        self._variables = frozenset(variables)  # set for this process alone: what stands in them is in every key
        self._environment = dict(os.environ)  # as it was given: what code sets in it says nothing that is new
        self._territory = Territory(folder, ignored)
        self._sources: dict[str, str] = {}  # module file → digest of the text that was loaded
        self._read: set[str] = set()
        self._written: set[str] = set()
        self._listed: set[str] = set()
        self._given: set[str] = set()
        self._readings = ModuleReadings()
        self._states = ReadStates()
        self._roots: set[str] = set()
        self._before: list[str] = []  # modules loaded when watching began
        self._active = False
        self._copies = Copies()

    def install(self, importing: Callable[[ModuleType], AbstractContextManager[None]] = _alone) -> None:
        """Begin to see module loads and opened files; each of the user's modules is loaded inside `importing`."""
        install_loader(self._territory, self._loaded, importing)
        original = importlib.import_module

        def import_module(name: str, package: str | None = None) -> Any:
            self._roots.add(name)
            return original(name, package)

        importlib.import_module = import_module
        watch_variables(self._variable_read)
        watch_presence(self._presence_asked)
        watch_native_readers(self._read_natively)
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
        referred = _referred(params)
        modules, packages = closure({*self.roots(), *carried, *referred}, self._territory)
        digests = {str(path): self._source(path) for path in modules.values()}
        digests = self._readings.of(modules) | digests
        if files:
            digests = self._opened(_given(params)) | digests
        there = {path for path in digests if digests[path] != MISSING or path.startswith((VARIABLE, PRESENCE))}
        named = {self._relative(path): digests[path] for path in there}
        return tuple(Dependency(*item) for item in sorted((named | _versions(packages)).items()))

    def code_of(self, params: Any, carried: Iterable[str]) -> dict[str, str]:
        """Digest the user's modules that a step names or was given, also those yet to be imported: path → digest.

        And what they read in this process until now; a path that may be a patient's name stands there as a digest.
        Modules that the parameters name are imported for that, as the step is about to do.
        """
        referred = _referred(params)
        for module in referred:
            with contextlib.suppress(Exception):  # the step says it in its own words
                importlib.import_module(module)
        self._settle_readings()
        modules, _ = closure({*carried, *referred}, self._territory, unloaded=True)
        digests = self._readings.of(modules) | {str(path): self._source(path) for path in modules.values()}
        rested_on = [Dependency(self._relative(path), digest) for path, digest in digests.items()]
        return {
            item.path if is_named(item) else digest_bytes(os.fsencode(item.path)): item.digest for item in rested_on
        }

    def files_of(self, module: str) -> dict[str, str]:
        """Return what a user's module and those that it imports have read in this process: path → digest."""
        modules, _ = closure({module}, self._territory)
        return {self._relative(path): digest for path, digest in self._readings.of(modules).items()}

    def _relative(self, dependency: str) -> str:
        return relocated(dependency, lambda path: dependency_path(path, self._folder))

    def _settle_readings(self) -> None:
        """Digest what modules read, but for what is written as well: that is the user's own cache."""
        for kind, place, readers, state in self._copies.handed_on():
            self._note(kind, place, readers, tuple(state))
        self._states.forget(self._written)
        self._readings.settle(self._written, self._digest, self._is_passing, self._states.changed)

    def _digest(self, dependency: str) -> str:
        if dependency.startswith(VARIABLE):
            return variable_digest(self._environment.get(dependency.removeprefix(VARIABLE)))
        return current_digest(dependency, self._folder)

    def _opened(self, given: set[str]) -> dict[str, str]:
        """Digest the user's files that were read and folders that were listed, but for those that the key holds."""
        files = [path for path in self._read - self._written if Path(path).is_file()]
        seen = files + [f"{path}/" for path in self._listed]
        mine = [path for path in seen if not _below(path.rstrip("/"), given) and self._territory.owns(path)]
        changed = self._states.changed
        return {path: CHANGED if changed(path) else current_digest(path, self._folder) for path in mine}

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
            if not readers and file.startswith(("<frozen importlib", _IMPORTLIB)) and not _given_data(frame):
                return None
            if not file.startswith("<") and self._territory.owns(file):
                readers.add(str(frame.f_globals.get("__name__", "")))
            frame = frame.f_back
        return readers

    def _line_readers(self) -> set[str]:
        """Return the user's modules at work where one of their lines asks itself; none where a library does."""
        line = asking_line(sys._getframe(2))
        own = line is not None and self._territory.owns(line.f_code.co_filename)
        return (own and self._readers(line)) or set()

    def _variable_read(self, name: str) -> None:
        counts = self._active and name not in self._variables and not names_a_secret(name)
        if counts and (readers := self._line_readers()):
            self._note("used", f"{VARIABLE}{name}", readers)

    def _presence_asked(self, path: str) -> None:
        if self._active and (readers := self._line_readers()):
            place = _absolute(path)
            if self._territory.owns(place) and not _below(place, self._given) and not self._is_passing(place):
                self._note("used", f"{PRESENCE}{place}", readers)

    def _is_passing(self, path: str) -> bool:
        """Tell whether a path lies where each run has files of its own, whose presence says nothing."""
        return _below(path, {tempfile.gettempdir()}) and not _below(path, {str(self._folder)})

    def _read_natively(self, path: str) -> None:
        """Take a path that native code is going to read for one that was opened, and a folder for all that is in it."""
        self._read_elsewhere(path)
        if self._active and Path(path).is_dir() and (readers := self._readers(sys._getframe(1))):
            for folder, _, names in os.walk(path):
                self._note_owned(f"{folder}/", readers)
                for name in names:
                    self._note_owned(str(Path(folder, name)), readers)

    def _read_elsewhere(self, path: str) -> None:
        """Take a path that something else than Python is going to read for one that was opened, if it is a file."""
        if self._active and Path(path).is_file() and (readers := self._readers(sys._getframe(1))):
            self._note_owned(path, readers)

    def _note_owned(self, path: str, readers: Iterable[str]) -> None:
        place = _absolute(path)
        if self._territory.owns(place) and not _below(place, self._given):
            self._note("used", place + "/" * path.endswith("/"), readers)

    def _note(self, kind: str, place: str, readers: Iterable[str] = (), state: FileState | None = None) -> None:
        """Collect a path, and of a file that is read its `state`, now unless it is given; a copy hands both on."""
        if state is None:
            state = file_state(place) if kind in ("read", "used") else ()
        if self._copies.in_child:
            self._copies.hand_on([kind, place, sorted(readers), state])
            return
        if state:
            self._states.see(place, state)
        if kind == "used":
            self._readings.add(place, readers)
        else:
            {"read": self._read, "listed": self._listed, "written": self._written}[kind].add(place)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active or (event not in _EVENTS and event not in COMMANDS):
            return
        if event in COMMANDS:
            for path in paths_of_command(event, arguments):
                self._read_elsewhere(path)
            return
        path = arguments[event == "os.rename"]
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        if event == "os.rename":  # the user's own code puts the file there
            self._states.forget([_absolute(os.fsdecode(path))])
            return
        if event == "sqlite3.connect":
            self._read_elsewhere(os.fsdecode(path))
            return
        readers = self._readers(sys._getframe(1))
        if readers is None:
            return
        place = _absolute(os.fsdecode(path))
        if event == "open" and _writes(arguments):
            self._note("written", place)
            return
        self._note("read" if event == "open" else "listed", place)
        if readers:
            self._note_owned(place if event == "open" else f"{place}/", readers)


def _given_data(frame: FrameType) -> bool:
    """Tell whether a loader reads a file that somebody else than the import system asks for, as `pkgutil.get_data`."""
    asking = frame.f_back
    by = asking.f_code.co_filename if asking is not None else ""
    return frame.f_code.co_name == "get_data" and not by.startswith(("<frozen importlib", _IMPORTLIB))


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


def _referred(params: Any) -> set[str]:
    """Name the modules that parameters refer to, as `module:Name`."""
    return {match[1] for text in _texts(params) if (match := _REFERENCE.fullmatch(text))}


def _given(params: Any) -> set[str]:
    return {_absolute(file["path"]) for _, file in files_in(params)}


def _below(path: str, folders: set[str]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _versions(packages: Iterable[str]) -> dict[str, str]:
    versions = {}
    for name in packages:
        for distribution in distributions(name):
            versions[PACKAGE + distribution] = installed_version(distribution) or MISSING
    return versions

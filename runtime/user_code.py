"""The user's own modules: which files are theirs, how they are loaded and called, and which packages they import."""

import ast
import importlib
import os
import sys
import sysconfig
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    PathFinder,
    SourceFileLoader,
)
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError, TitrantError
from titrant.schema.language.nearest import nearest
from titrant.schema.values.distributions import distributions_with, installed_version
from titrant.schema.values.files import digest_bytes

Returned = TypeVar("Returned")

_REPOSITORY = Path(__file__).resolve().parents[1]
# Files in memory are somebody's rows as often as a system's.
_MEMORY = "/dev/shm"
_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "~/.config", "~/.cache/matplotlib", "~/.matplotlib")


class Territory:
    """Which files are the user's: the deepest folder that is known to belong to somebody decides."""

    def __init__(self, folder: Path, ignored: Iterable[Path] = ()) -> None:
        mine: list[str | Path] = [_REPOSITORY / name for name in ("schema", "compiler", "runtime", "src/titrant")]
        prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values(), *_SYSTEM]
        others = {_real(path) for path in [*mine, *prefixes, *ignored]}
        users = {_real(folder), _real(_REPOSITORY / "recipes"), _real(_MEMORY)}
        # A folder that is both, as a virtual environment given as recipe folder, is the user's.
        self._owner = dict.fromkeys(others, False) | dict.fromkeys(users, True)
        self._asked: dict[str, bool] = {}
        self._folders: dict[str, tuple[str, bool]] = {}  # folder → where it really lies, and whether it is the user's

    def owns(self, path: str | Path) -> bool:
        """Tell whether a file or folder is the user's own, rather than installed, titrant's or the system's."""
        text = str(path)
        if text not in self._asked:
            # Only a link leads out of its folder: asking where every file really lies takes longer than loading it.
            linked = not text.startswith("/") or os.path.islink(text)  # noqa: PTH114
            self._asked[text] = self._decide(_real(text)) if linked else self._in_folder(text)
        return self._asked[text]

    def _in_folder(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self._folders:
            place = _real(folder)
            self._folders[folder] = place, self._decide(place)
        place, owned = self._folders[folder]
        return self._owner.get(f"{place.rstrip('/')}/{name}", owned)

    def _decide(self, place: str) -> bool:
        while place not in self._owner:
            parent = place.rpartition("/")[0] or "/"
            if parent == place:
                return True
            place = parent
        return self._owner[place]

    def module(self, name: str) -> Path | None:
        """Return the file of a loaded module of the user's, or the archive that it is in; None for any other."""
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        return _on_disk(file) if isinstance(module, ModuleType) and file and self.owns(file) else None

    def unloaded(self, name: str) -> Path | None:
        """Return the file that a module of the user's would be loaded from; nothing is imported to find it."""
        folders: Any = None
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            whole = ".".join(parts[:count])
            module = sys.modules.get(whole)
            if module is not None:
                origin, folders = getattr(module, "__file__", None), getattr(module, "__path__", None)
            elif count > 1 and folders is None:
                return None
            else:
                spec = PathFinder.find_spec(whole, folders)
                origin, folders = (spec.origin, spec.submodule_search_locations) if spec is not None else (None, None)
            if origin is not None and not self.owns(origin):
                return None
        return _on_disk(origin) if origin is not None else None


def _on_disk(place: str) -> Path:
    """Return the file, or the archive that a path leads into, as that of a module in a .zip."""
    path = Path(place)
    return next((file for file in (path, *path.parents) if file.is_file()), path)


def _real(path: str | Path) -> str:
    return os.path.realpath(Path(path).expanduser())


class UserLoader(SourceFileLoader):
    """Compile a user's module from the text that is there now, and say what that text was.

    Cached bytecode is neither read, since it can be older than the text by up to a second, nor written.
    """

    loaded: Callable[[str, str], None]
    importing: Callable[[ModuleType], AbstractContextManager[None]]

    def exec_module(self, module: ModuleType) -> None:
        """Execute the text."""
        with self.importing(module):
            super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source."""
        path = self.get_filename(fullname)
        data = self.get_data(path)
        self.loaded(path, digest_bytes(data))
        code: CodeType = self.source_to_code(data, path)
        return code


def install_loader(
    territory: Territory,
    loaded: Callable[[str, str], None],
    importing: Callable[[ModuleType], AbstractContextManager[None]],
) -> None:
    """Load modules from the user's folders with UserLoader, each inside `importing`.

    `loaded` is told each file and its digest.
    """
    own = {"loaded": staticmethod(loaded), "importing": staticmethod(importing)}
    loader = type("RecordingLoader", (UserLoader,), own)
    finder = FileFinder.path_hook((ExtensionFileLoader, EXTENSION_SUFFIXES), (loader, SOURCE_SUFFIXES))

    def hook(path: str) -> Any:
        if not territory.owns(path or "."):
            raise ImportError(f"{path} is not the user's")
        return finder(path)

    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()


def imported_names(name: str, file: Path) -> Iterator[str]:
    """Yield every module name that a module's text imports, at any depth, with its parents; nothing is imported."""
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    for node in _import_statements(str(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        else:
            base = _absolute(node, package)
            for alias in node.names:
                yield from _with_parents(f"{base}.{alias.name}" if base else alias.name)


@cache
def _import_statements(file: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """List a file's import statements; a module is loaded once in a process, so once is enough here too."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)))


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        yield ".".join(parts[:count])


def closure(roots: Iterable[str], territory: Territory, *, unloaded: bool = False) -> tuple[dict[str, Path], set[str]]:
    """Follow imports from some modules: the user's modules reached, by name, and the installed packages they import.

    With `unloaded` also through modules that no call has imported yet, as a function that imports one does.
    """
    reached: dict[str, Path] = {}
    packages: set[str] = set()
    waiting = [parent for root in roots for parent in _with_parents(root)]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        file = territory.module(name) or (territory.unloaded(name) if unloaded else None)
        if file is not None:
            reached[name] = file
            waiting += imported_names(name, file)
        else:
            packages.add(name.split(".")[0])
    return reached, {name for name in packages if _installed(name, territory)}


def _installed(name: str, territory: Territory) -> bool:
    """Tell whether a top-level name is a loaded package that somebody else wrote."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return bool(file) and name not in sys.stdlib_module_names and name != "titrant" and not territory.owns(str(file))


def resolve(reference: str) -> Callable[..., Any]:
    """Import what `module:Name` refers to.

    Raises StepError X150 when the module or the name is not there, X108 when the module raises while imported.
    """
    module_name, _, attribute = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise StepError(
            Diagnostic(
                "X150",
                f"{reference}: there is no module {error.name}",
                help=hiding(error) or "modules are looked for in the recipe's folder and in the installed environment",
            )
        ) from None
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything
        raise _raised(f"importing {module_name}", error) from None
    if not hasattr(module, attribute):
        near = nearest(attribute, dir(module))
        raise StepError(
            Diagnostic(
                "X150",
                f"{reference}: {module_name} has no {attribute}",
                help=f"did you mean {near}?" if near else f"define {attribute} in {module_name}",
            )
        )
    return getattr(module, attribute)  # type: ignore[no-any-return]


def call(what: str, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
    """Call the user's function; StepError X108, one line naming `what` and the user's line, when it raises.

    A MemoryError is nothing to mend in the user's code: it passes through to whoever runs the step.
    """
    try:
        return function(*args, **named)
    except (TitrantError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        raise _raised(what, error) from None


class _Forks:
    """Counts how often each thread forked this process.

    The child of another one, such as that in which OpenVINO's telemetry forks, never comes back from what this one
    calls.
    """

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_parent=self._add)

    def _add(self) -> None:
        self._counts[threading.get_ident()] += 1

    @property
    def count(self) -> int:
        """Return how often the calling thread did."""
        return self._counts[threading.get_ident()]


@cache
def _forks() -> _Forks:
    return _Forks()


def call_in_parent(work: Callable[[], Returned]) -> Returned:
    """Call the user's function; a copy of this process that comes back from it, by a fork in it, ends here."""
    process, code = os.getpid(), 1
    try:
        answer = work()
        code = 0
    finally:
        if os.getpid() != process:
            os._exit(code)  # the child of a fork: only its parent goes on
    return answer


def call_unforked(name: str, work: Callable[[], Returned]) -> Returned:
    """Call what is measured or looked into; StepError X674 where it forks, and the copies of this process end here."""
    forks = _forks()
    before = forks.count
    answer = call_in_parent(work)
    if forks.count > before:
        message = f"{name} forks: what its children do is not seen by this process"
        advice = "give what one child does, in a process of its own"
        raise StepError(Diagnostic("X674", message, help=advice))
    return answer


def describe(error: BaseException) -> str:
    """Write an exception as its type and the user's line that raised it; its text may hold rows, and is left out."""
    place = innermost_line(error, Territory(Path.cwd()).owns)
    return f"{type(error).__name__} ({place})" if place else type(error).__name__


def said_by(error: BaseException) -> str:
    """Return the text of an exception in one line, for whoever asked to see what may hold rows."""
    return " ".join(str(error).split())


def unloaded(error: ImportError | AttributeError) -> str:
    """Say what of a `module:Name` is not there, from what the import system keeps of it; else as `describe` does."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"there is no module {error.name}"
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType) and error.name:
        return f"{error.obj.__name__} has no {error.name}"
    return describe(error)


def hiding(error: BaseException) -> str:
    """Say which file was loaded in place of the module that an import or a look into a module failed in, or "".

    A recipe's folder comes first where modules are looked for, so that `email.py` there hides Python's `email`.
    """
    name, module = "", None
    if isinstance(error, ImportError):
        name = error.name or ""
    elif isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        name, module = error.obj.__name__, error.obj
    top = name.partition(".")[0]
    # One that failed while it was loaded is among the loaded ones no longer.
    module = module if module is not None and module.__name__ == top else sys.modules.get(top)
    file = Path(getattr(module, "__file__", None) or "/")
    folder = file.parent.parent if file.name == "__init__.py" else file.parent
    others = [entry for entry in sys.path if entry and Path(entry) != folder]
    hidden = None if module is None else PathFinder.find_spec(top, others)
    if hidden is None or hidden.origin is None or Path(hidden.origin) == file:
        return ""
    what = "Python's module" if top in sys.stdlib_module_names else "the installed package"
    return f"rename {file.relative_to(folder)}: it is loaded in place of {what} `{top}`"


def innermost_line(error: BaseException, owns: Callable[[str], bool]) -> str:
    """Return "file:line" of the innermost line of the user's code that an exception came through, or ""."""
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{Path(error.filename).name}:{error.lineno}" if owns(error.filename) else ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith("<") and owns(frame.filename):
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return ""


class RaisedError(StepError):
    """The user's code raised; `reason` is the type of what it raised and where."""

    def __init__(self, diagnostic: Diagnostic, reason: str) -> None:
        super().__init__(diagnostic)
        self.reason = reason


def reason_of(error: StepError) -> str:
    """Say in one line what an error comes from: of what the user's code raised its type and its line."""
    return error.reason if isinstance(error, RaisedError) else error.diagnostics[0].message


def _raised(what: str, error: Exception) -> RaisedError:
    raised, said = describe(error), said_by(error)
    if isinstance(error, TypeError) and error.__traceback__ is not None and error.__traceback__.tb_next is None:
        # No line of the function ran: this is Python's own word on the arguments that the recipe gives.
        raised, said = f"{raised}: {said}", ""
    advice = hiding(error) or "mend the recipe's own code"
    diagnostic = Diagnostic("X108", f"{what} raised {raised}", help=advice, said=said)
    return RaisedError(diagnostic, raised)


@cache
def distributions(package: str) -> tuple[str, ...]:
    """Return the distributions that an importable package comes from: nearly always the one of its own name."""
    return (package,) if installed_version(package) is not None else distributions_with(package)

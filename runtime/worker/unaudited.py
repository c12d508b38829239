"""Tell of what code learns without an audit event of Python.

These are variables of the environment, whether a path is there, and files that native code or another process reads.
"""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

# Functions and classes that open the files whose paths they are given in native code, by their modules.
NATIVE_READERS = (
    ("pyarrow.parquet.core", "ParquetFile", "ParquetDataset"),
    ("pyarrow.dataset", "dataset", "parquet_dataset"),
    ("pyarrow.csv", "read_csv", "open_csv"),
    ("pyarrow.json", "read_json", "open_json"),
    ("pyarrow.orc", "ORCFile"),
    ("pyarrow.feather", "read_table", "read_feather"),
    ("pyarrow", "memory_map", "input_stream"),
    ("safetensors", "safe_open"),
    ("safetensors.numpy", "safe_open"),
    ("safetensors.torch", "safe_open"),
    ("torch.jit._serialization", "load"),
    ("torchvision.io.image", "read_file", "read_image"),
    ("h5py._hl.files", "File"),
    ("polars", "read_parquet", "scan_parquet", "read_csv", "scan_csv", "read_ipc", "scan_ipc", "read_ndjson"),
    ("cv2", "imread"),
)
# Audit events with a command line: where in their arguments it stands, and where the folder that it starts in.
COMMANDS = {"subprocess.Popen": (1, 2), "os.system": (0, None), "os.exec": (1, None), "os.posix_spawn": (1, None)}
_ASKING = ("exists", "is_file", "is_dir"), ("exists", "isfile", "isdir", "lexists")
# What stands between the line that asks and what is watched.
_LIBRARY = ("os", "posixpath", "genericpath", "_collections_abc")
_SOURCES = (str(sys.modules[name].__file__) for name in _LIBRARY)
_BETWEEN = (__file__, *(f"<frozen {name}>" for name in _LIBRARY), *_SOURCES)


def asking_line(frame: FrameType | None) -> FrameType | None:
    """Return the frame of the code that asked, past the standard library's own way of asking."""
    while frame is not None and frame.f_code.co_filename.startswith(_BETWEEN):
        frame = frame.f_back
    return frame


def watch_variables(read: Callable[[str], None]) -> None:
    """Call `read` with the name of each variable of the environment that is asked for by its name.

    What goes through all of them, as `dict(os.environ)` does for another process, asks for none.
    """
    # Where all are gone through: a copy asks for each of them in the same instruction.
    passed: set[tuple[CodeType, int]] = set()

    class Environment(type(os.environ)):  # type: ignore[misc]
        def __getitem__(self, key: str) -> str:
            line = asking_line(sys._getframe(1))
            if line is not None and (line.f_code, line.f_lasti) not in passed and isinstance(key, str):
                read(key)
            return super().__getitem__(key)  # type: ignore[no-any-return]

        def __iter__(self) -> Iterator[str]:
            line = asking_line(sys._getframe(1))
            if line is not None:
                passed.add((line.f_code, line.f_lasti))
            yield from super().__iter__()

    os.environ.__class__ = Environment


def watch_presence(asked: Callable[[str], None]) -> None:
    """Call `asked` with each path of which is asked whether it, or a file or folder of this name, is there."""
    for owner, names in zip((Path, os.path), _ASKING, strict=True):
        for name in names:
            setattr(owner, name, _telling(getattr(owner, name), partial(_tell_first, asked)))


def _tell_all(read: Callable[[str], None], given: Iterable[Any]) -> None:
    for path in paths_in(given):
        read(path)


def _tell_first(asked: Callable[[str], None], given: Iterable[Any]) -> None:
    for path in list(given)[:1]:
        if isinstance(path, (str, bytes, os.PathLike)):
            asked(os.fsdecode(path))


def watch_native_readers(read: Callable[[str], None]) -> None:
    """Call `read` with each path that a native reader is given, now or once its module is imported."""
    readers = {module: names for module, *names in NATIVE_READERS}

    def watched(module: ModuleType) -> None:
        for name in readers[module.__name__]:
            _watch_reader(module, name, partial(_tell_all, read))

    for name in readers.keys() & sys.modules.keys():
        watched(sys.modules[name])
    sys.meta_path.insert(0, _AfterImport(frozenset(readers), watched))  # type: ignore[arg-type]


def _watch_reader(module: ModuleType, name: str, tell: Callable[[Iterable[Any]], object]) -> None:
    reader = getattr(module, name, None)
    if reader is None:
        return
    begin = vars(reader).get("__init__") if isinstance(reader, type) else None
    if isinstance(begin, FunctionType):
        setattr(reader, "__init__", _telling(begin, tell))  # noqa: B010 - it is no attribute to mypy
    else:  # a class of native code opens its file before its `__init__`
        setattr(module, name, _telling(reader, tell))


def _telling(call: Callable[..., Any], tell: Callable[[Iterable[Any]], object]) -> Callable[..., Any]:
    """Return a function that tells of its arguments first, then is what it was."""

    @wraps(call)
    def telling(*given: Any, **named: Any) -> Any:
        tell([*given, *named.values()])
        return call(*given, **named)

    return telling


def paths_in(given: Iterable[Any]) -> Iterator[str]:
    """Yield the paths among the arguments of a reader, also those in a list."""
    for value in given:
        if isinstance(value, (str, bytes, os.PathLike)):
            yield os.fsdecode(value)
        elif isinstance(value, (list, tuple)):
            yield from paths_in(value)


def paths_of_command(event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    """Yield what may be a path in the command line of an event in `COMMANDS`: a word, or what stands behind `=`."""
    place, folder = COMMANDS[event]
    line = arguments[place]
    start = os.fsdecode(arguments[folder]) if folder is not None and arguments[folder] else ""
    words = [line] if isinstance(line, (str, bytes)) else line or ()
    for text in (os.fsdecode(word) for word in words if isinstance(word, (str, bytes, os.PathLike))):
        for word in _words(text):
            yield from (str(Path(start, part)) for part in {word, word.partition("=")[2]} if part)


def _words(text: str) -> list[str]:
    """Split a command line, or a word that is one, as that of `sh -c`."""
    try:
        return [text, *shlex.split(text)]
    except ValueError:  # a quote that does not end
        return [text]


class _AfterImport:
    """Calls `then` with a module of certain names once it is imported, by whoever finds it."""

    def __init__(self, names: frozenset[str], then: Callable[[ModuleType], None]) -> None:
        self._names = names
        self._then = then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a module with the finders behind this one."""
        if name not in self._names:
            return None
        others = sys.meta_path[sys.meta_path.index(self) + 1 :]  # type: ignore[arg-type]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        execute = getattr(spec.loader, "exec_module", None) if spec is not None else None
        if spec is None or execute is None:
            return spec

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._then(module)

        spec.loader.exec_module = exec_module  # type: ignore[union-attr, method-assign]
        return spec

"""A home folder: its parts, what is wrong where one cannot be used, and its runs, newest first."""

import contextlib
import errno
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError, RecipeError, StepError
from titrant.schema.values.files import home_path
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import is_text, os_reason

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OPEN = (errno.EMFILE, errno.ENFILE)
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
# With so many open files the worker, its pipes, the store and the libraries that it loads get by.
LEAST_FILES = 64
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_KEY_BYTES = 32
# How a run's folder begins: the second, in UTC, in which the run began.
BEGAN = re.compile(r"\d{8}T\d{6}Z-")
_SECOND = 16
# Which run answered again, without a folder of its own, and when.
_ANSWERED = "answered.json"


@dataclass(frozen=True)
class Home:
    """A home folder; every part of it lies on one file system, so that a rename is atomic."""

    path: Path

    @property
    def store(self) -> Path:
        """Artifacts by content."""
        return self.path / "store"

    @property
    def results(self) -> Path:
        """What steps gave, by step key."""
        return self.path / "results"

    @property
    def facts(self) -> Path:
        """Cached inspections and declarations."""
        return self.path / "facts"

    @property
    def runs(self) -> Path:
        """One folder for each run."""
        return self.path / "runs"

    @property
    def locks(self) -> Path:
        """Who is computing which step."""
        return self.path / "locks"

    @property
    def looks(self) -> Path:
        """Which sets of models were judged on which evaluation rows."""
        return self.path / "looks"

    @property
    def training(self) -> Path:
        """Checkpoints of steps that are not finished, by step key."""
        return self.path / "training"

    @property
    def compared(self) -> Path:
        """Comparisons of runs, which can be made again at any time."""
        return self.path / "compared"

    @property
    def unfinished(self) -> Path:
        """What is being written: nothing here counts until it is renamed to its place."""
        return self.path / "unfinished"


def row_key(home: Home) -> bytes:
    """Return the 32 bytes that key the digests by which rows are named outside the home; made when first asked for.

    It never leaves the home, and only its owner can read it: without it nobody finds a row's name by trying patients'
    numbers. The same home gives a row the same name in every file. Raises OSError where it cannot be kept.
    """
    place = home.path / "row.key"
    with contextlib.suppress(FileNotFoundError):
        if len(key := place.read_bytes()) == _KEY_BYTES:
            return key
        place.unlink()  # cut short by a crash: nothing was named by it
    beside = home.unfinished / f"row.key-{os.getpid()}-{os.urandom(4).hex()}"
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(os.urandom(_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    # Of several processes the first one's key counts: a link is refused where there is one.
    with contextlib.suppress(FileExistsError):
        os.link(beside, place)
    beside.unlink()
    return place.read_bytes()


def home_to_read(path: Path | None = None) -> Home:
    """Return the home at `path`, or where `home_path` says, to look things up in: it may be read-only, or not there.

    Raises RecipeError X301 when something else is in its place, X303 when its name is not UTF-8.
    """
    home = _named((path or home_path()).absolute())
    if home.path.exists() and not home.path.is_dir():
        raise RecipeError(_no_folder(home.path))
    return home


def _named(path: Path) -> Home:
    if not is_text(str(path)):
        message = f"the name of the home, {path}, is not UTF-8"
        raise RecipeError(Diagnostic("X303", message, help="set TITRANT_HOME to a folder with another name"))
    return Home(path)


def home_folder() -> Path:
    """Return where titrant keeps its store, results and runs, to look things up: it may be read-only, or not there."""
    return home_to_read().path


def open_home(path: Path | None = None) -> Home:
    """Return the home at `path`, or where `home_path` says, to write in, made where it is missing.

    Raises RecipeError X300 when it cannot be written, X301 when something else is in its place and X303 when its name
    is not UTF-8.
    """
    home = _named((path or home_path()).absolute())
    try:
        for folder in (home.store / "blake3", home.results, home.facts, home.runs, home.locks, home.unfinished):
            folder.mkdir(parents=True, exist_ok=True)
        ignore = home.path / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", "utf-8")
    except (FileExistsError, NotADirectoryError):
        raise RecipeError(_no_folder(home.path)) from None
    except OSError as error:
        raise RecipeError(_home_problem(home.path, error)) from None
    if not os.access(home.unfinished, os.W_OK | os.X_OK):
        raise RecipeError(_home_problem(home.path, PermissionError(errno.EACCES, "it is read-only")))
    return home


@contextlib.contextmanager
def disk_errors(home: Home) -> Iterator[None]:
    """Turn what the system refuses below the home into a StepError that says so; what was stored before stays.

    That is a full or read-only disk, a part of the home that went away meanwhile, and too few open files.
    """
    try:
        yield
    except OSError as error:
        problem = disk_problem(home, error) or gone(home, error)
        if problem is None:
            raise
        raise StepError(problem) from error


def disk_problem(home: Home, error: OSError) -> Diagnostic | None:
    """Say what is wrong when the error is one of writing below the home, else None."""
    inside = not error.filename or str(error.filename).startswith(str(home.path))
    if error.errno in _OPEN:
        return few_files()
    if error.errno in FULL:
        return _full(error.filename or home.path, error.errno)
    return _home_problem(home.path, error) if inside and error.errno in _READ_ONLY else None


def gone(home: Home, error: OSError, unnamed: Path | None = None) -> Diagnostic | None:
    """Say that a part of the home is gone, where the error is that a file of it has no folder any more.

    `unnamed` is what an error that names no file is about, as one of the current folder.
    """
    named = isinstance(error.filename, (str, bytes, os.PathLike))
    place = Path(os.fsdecode(error.filename)) if named else unnamed or Path()
    if error.errno not in _GONE or not place.is_relative_to(home.path):
        return None
    folders = [place, *place.parents]
    missing = next((folder for folder in reversed(folders) if not os.path.lexists(folder)), place)
    return Diagnostic(
        "X304",
        f"{missing} went away while titrant worked with it",
        help="leave the home alone while a command uses it, and run again: what is left of it is reused",
    )


def few_files() -> Diagnostic:
    """Say that this process may not open as many files as it needs."""
    limit, most = _file_limits() or (LEAST_FILES, LEAST_FILES)
    advice = (
        f"allow more: ulimit -n {LEAST_FILES * 4}" if most >= LEAST_FILES * 4 else "allow more where the shell starts"
    )
    message = f"this process may open {limit} files at once, and titrant needs {LEAST_FILES}"
    return Diagnostic("X305", message, help=advice)


def refuse_few_files() -> None:
    """Raise InfeasibleError X305 where a worker could not open what it needs: its libraries would fail anyhow."""
    limits = _file_limits()
    if limits is not None and 0 <= limits[0] < LEAST_FILES:
        raise InfeasibleError(few_files())


def _file_limits() -> tuple[int, int] | None:
    """Return how many files a process may open, and may at most be allowed to; None where the system has no limit.

    Without end is below 0 or beyond any number of files.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _no_folder(path: Path) -> Diagnostic:
    return Diagnostic("X301", f"{path} is not a folder", help="set TITRANT_HOME to a folder for titrant's files")


def _home_problem(path: Path, error: OSError) -> Diagnostic:
    if error.errno in FULL:
        return _full(path, error.errno)
    return Diagnostic(
        "X300",
        f"cannot write in {path}: {os_reason(error)}",
        help="set TITRANT_HOME to a folder that you can write",
    )


def _full(where: object, number: int | None) -> Diagnostic:
    """Say that a file did not fit: on the disk, in its user's share of it, or in what a process may write."""
    cause, remedy = {
        errno.EDQUOT: ("your quota on this disk is used up", "free some space"),
        errno.EFBIG: ("a file may not become as large here", "raise the limit (ulimit -f unlimited)"),
    }.get(number or 0, ("the disk is full", "free some space"))
    return Diagnostic(
        "X302", f"{cause}: cannot write {where}", help=f"{remedy} and run again: finished steps are reused"
    )


def host() -> str:
    """Return this machine's name, letters and digits only."""
    import socket

    return "".join(character for character in socket.gethostname() if character.isalnum()) or "host"


def newest_first(runs: Path, part: str = "") -> list[Path]:
    """List the folders below `runs` whose names hold `part`, the newest run first.

    The name says in which second a run began; for runs that share one, the journal says which was first. Folders that
    are not named as runs are come last.
    """
    try:
        names = [name for name in os.listdir(runs) if part in name]  # noqa: PTH208 - no Path each
    except (FileNotFoundError, NotADirectoryError):
        return []
    shared = Counter(name[:_SECOND] for name in names)

    def place(name: str) -> tuple[bool, str, str, str]:
        second = name[:_SECOND]
        return bool(BEGAN.match(name)), second, _began(runs / name) if shared[second] > 1 else "", name

    return [runs / name for name in sorted(names, key=place, reverse=True)]


def begun_before(runs: Path, run: str, part: str = "") -> list[Path]:
    """List the folders below `runs` whose names hold `part` and that began before a run, the newest first.

    Of a run that is not there only the name says when it began.
    """
    names = [folder.name for folder in newest_first(runs)]
    earlier = names[names.index(run) + 1 :] if run in names else [name for name in names if name < run]
    return [runs / name for name in earlier if part in name]


def note_answer(home: Home, run: str) -> None:
    """Remember that a run answered again, where nothing had to run: it is the latest until another begins."""
    beside = home.path / f"{_ANSWERED}-{os.getpid()}"
    with contextlib.suppress(OSError):  # a home that cannot be written answers all the same
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        beside.write_text(json.dumps({"run": run, "time": time}), "utf-8")
        beside.replace(home.path / _ANSWERED)


def latest_first(runs: Path) -> list[Path]:
    """List the folders below `runs`, the newest first, but before it the one that answered again since it began."""
    folders = newest_first(runs)
    try:
        noted = json.loads((runs.parent / _ANSWERED).read_bytes())
        again = runs / str(noted["run"])
        since = str(noted["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return folders
    if again not in folders or since < _began(folders[0]):
        return folders
    return [again, *(folder for folder in folders if folder != again)]


def _began(folder: Path) -> str:
    """Return the time of a run's first event, to the millisecond; "" where its journal cannot be read."""
    try:
        with (folder / "journal.jsonl").open("rb") as journal:
            return str(json.loads(journal.readline())["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""

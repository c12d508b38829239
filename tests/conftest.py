"""What every test begins with: no chance, no clock, and nothing of the shell that started it."""

import contextlib
import gc
import importlib.util
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import pytest
from _pytest.assertion import rewrite
from filelock import FileLock
from hypothesis import settings
from hypothesis.internal import charmap, intervalsets
from hypothesis.internal.conjecture import providers

from . import sources
from .warm_processes import Warm

# The same examples in every run, however slow the machine. `pytest --hypothesis-profile search` looks for new ones.
settings.register_profile("suite", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("suite")

# What would change what is printed, or where git and Python look.
FOREIGN = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "PYTHONSAFEPATH", "PYTHONWARNINGS", "GIT_DIR", "GIT_WORK_TREE")

# What `warm` gives where it was begun before.
WARM = pytest.StashKey[Warm]()

WRITES_NO_BYTECODE = sys.dont_write_bytecode

# A file system in memory, and what the tests' files take of it, twice.
MEMORY, MEMORY_BYTES = "/dev/shm", 4 << 30


def _memory_has_room():
    """Say whether tests may write their files to memory, and run what they write.

    Some disks let whoever takes a folder away wait for two milliseconds, and each step of a run takes some away: it was
    a third of what tests of small runs took. A `--basetemp` that is given is taken as it is.
    """
    if not Path(MEMORY).is_dir() or not os.access(MEMORY, os.W_OK):
        return False
    system = os.statvfs(MEMORY)
    available = re.search(r"^MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.M)
    free = min(system.f_bavail * system.f_frsize, int(available[1]) << 9)  # half of what is available
    return free >= MEMORY_BYTES and not system.f_flag & os.ST_NOEXEC


@pytest.hookimpl(tryfirst=True)  # before pytest reads where its files go
def pytest_configure(config):
    """Let pytest keep what it makes of the tests' files: it takes ten seconds of every worker. Take interrupts."""
    sys.dont_write_bytecode = False
    if config.getoption("--hypothesis-profile") is None:
        # Else it draws from every constant of our own modules that are loaded by then: others in each worker and after
        # each change of a text. To read them took four seconds of every worker.
        providers._get_local_constants = lambda: providers._local_constants
    # All but surrogates. To try a million characters takes three seconds where no earlier session kept the answer.
    encodable = intervalsets.IntervalSet(((0, 0xD7FF), (0xE000, sys.maxunicode))), intervalsets.IntervalSet(())
    try_all = charmap.intervals_from_codec
    charmap.intervals_from_codec = lambda codec: encodable if codec == "utf-8" else try_all(codec)
    if config.option.basetemp is None and _memory_has_room():
        for folder in Path(MEMORY).glob(f"titrant-tests-{os.getuid()}-*"):
            if not Path(f"/proc/{folder.name.rpartition('-')[2]}").exists():  # of a session that failed, or was killed
                shutil.rmtree(folder, ignore_errors=True)
        config.option.basetemp = f"{MEMORY}/titrant-tests-{os.getuid()}-{os.getpid()}"
    gc.disable()  # until all is collected: what is imported and made of tests stays
    # What a shell starts in the background ignores it, and so would every process that tests interrupt.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session):
    """Rewrite this worker's share of all tests' assertions before it collects, where nothing kept them yet.

    Workers collect the same files at the same time, so that each would rewrite all of them. One of them begins what
    forks warm processes: it is loaded by the time that the first test asks.
    """
    workers = getattr(session.config, "workerinput", None)
    tests = Path(__file__).parent
    if workers is None or [Path(name).resolve() for name in session.config.args] != [tests]:
        return
    if workers["workerid"] == "gw0":  # what it loads takes seven seconds, in which all workers would wait
        _forget_shell()
        folders = session.config._tmp_path_factory
        session.config.stash[WARM] = Warm(folders.mktemp("warm"), folders.getbasetemp().parent / "warm-server")
        session.config.stash[WARM].begin()
    number, state = int(workers["workerid"].removeprefix("gw")), session.config.stash[rewrite.assertstate_key]
    for file in sorted(tests.rglob("test_*.py"))[number :: workers["workercount"]]:
        kept = rewrite.get_cache_dir(file) / f"{file.stem}{rewrite.PYC_TAIL}"
        if rewrite._read_pyc(file, kept) is None and rewrite.try_makedirs(kept.parent):
            source, code = rewrite._rewrite_test(file, session.config)
            rewrite._write_pyc(state, code, source, kept)


def pytest_sessionfinish(session, exitstatus):
    """Give back the memory that the files of a session take, where all is green."""
    basetemp = str(session.config.option.basetemp)
    if exitstatus == 0 and basetemp == f"{MEMORY}/titrant-tests-{os.getuid()}-{os.getpid()}":
        shutil.rmtree(basetemp, ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Begin with the files that hold what takes long, so that no worker waits at the end for another's last test."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish():
    """Spare garbage collections what is loaded by now: to time models, and to fork, is to begin with one."""
    sys.dont_write_bytecode = WRITES_NO_BYTECODE
    _freeze()  # without looking for what of it is garbage: that takes half a second of every worker
    gc.set_threshold(200_000, 20, 20)  # as every command has it
    gc.enable()


def _freeze():
    gc.freeze()
    _FROZEN["modules"] = len(sys.modules)


# Modules that were loaded at the last time, and how many more of them are worth another one.
_FROZEN, MANY_MODULES = {"modules": 0}, 300


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Spare garbage collections what tests have loaded since, where that is much: a tenth of a second of each."""
    if len(sys.modules) > _FROZEN["modules"] + MANY_MODULES:
        gc.collect()
        _freeze()


def _forget_shell():
    for name in FOREIGN:
        os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory):
    """Give tests that name no home one of this session's, and take away what a shell may have set."""
    _forget_shell()
    os.environ["TITRANT_HOME"] = str(tmp_path_factory.mktemp("home"))
    # To try which vector instructions g++ compiles takes it a quarter of a minute on a machine that never did.
    os.environ["TORCHINDUCTOR_VEC_ISA_OK"] = "1"


@pytest.fixture(scope="session", autouse=True)
def _late_grammar():
    """Compile the grammar of IRIs where one is checked, not where jsonschema is loaded: two seconds of every worker."""
    name = "rfc3987_syntax"
    if importlib.util.find_spec(name) is None:
        return
    late = ModuleType(name)

    def is_valid_syntax(*given):
        if sys.modules[name] is late:
            del sys.modules[name]
        return importlib.import_module(name).is_valid_syntax(*given)

    late.is_valid_syntax = is_valid_syntax
    sys.modules.setdefault(name, late)


@pytest.fixture(scope="session", autouse=True)
def _no_power_cuts():
    """Wait for no disk: what files are flushed for, no test brings about. It was a third of what a small run takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


_FOLDERS = Counter()


@pytest.fixture
def tmp_path(request, tmp_path_factory):
    """Return an empty folder of the test's own, under the name that pytest gives it.

    For a free number pytest goes through the folders of all tests before: 5 ms each time, where there are thousands.
    """
    name = re.sub(r"\W", "_", request.node.name)[:30]
    folder = tmp_path_factory.getbasetemp() / f"{name}{_FOLDERS[name.lower()]}"
    _FOLDERS[name.lower()] += 1
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(scope="session")
def warm(request, tmp_path_factory, session_folder):
    """Return what runs `python ARGUMENTS` in a process that begins with what is heavy loaded."""
    made = request.config.stash.get(WARM, None) or Warm(tmp_path_factory.mktemp("warm"), session_folder / "warm-server")
    yield made
    made.close()


@pytest.fixture(scope="module")
def warm_workers(warm):
    """Let the workers and ranks that a module's tests start begin with what is heavy loaded."""
    from titrant.runtime.training.processes import launch
    from titrant.runtime.worker import parent

    names = ("DEVNULL", "STDOUT", "TimeoutExpired")
    parts = SimpleNamespace(Popen=warm.start, **{name: getattr(subprocess, name) for name in names})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parent, "subprocess", parts)
        patch.setattr(launch, "subprocess", parts)
        yield


def called_here(folder, home, *arguments):
    """Call a verb in this process, for what is the same in a process of its own: the exit code, and what it printed."""
    from titrant.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, {"TITRANT_HOME": str(home), "CI": "true"}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(list(map(str, arguments)))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """Return the folder of the whole test session, which its workers share: what lies there is made under a lock."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session", autouse=True)
def _shared_sources(session_folder):
    """Let one worker of a session look at the sources for all of them."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        sources.SHARED[:] = [session_folder / "sources"]


@pytest.fixture(scope="session")
def shipped(session_folder, warm):
    """Return a folder with `recipes/` of which one ran into `home/`: made once for all workers, to be copied."""
    return _ran(session_folder / "shipped", Path(__file__).parents[1], warm, "run", "-q", "recipes/breast_cancer.yaml")


@pytest.fixture(scope="session")
def shipped_masks(session_folder, shipped, warm):
    """Return a folder like `shipped` in which the recipe of masks ran as well."""
    return _ran(session_folder / "shipped_masks", shipped, warm, "run", "-q", "recipes/digit_masks.yaml")


@pytest.fixture(scope="session")
def shipped_digits(session_folder, shipped, warm):
    """Return a folder like `shipped` in which the recipe of digits ran as well."""
    return _ran(session_folder / "shipped_digits", shipped, warm, "run", "-q", "recipes/digits_cnn.yaml")


@pytest.fixture(scope="session")
def shipped_doctor(session_folder, shipped, warm):
    """Return a folder like `shipped` in whose home it is kept which engines load."""
    return _ran(session_folder / "shipped_doctor", shipped, warm, "doctor")


@pytest.fixture(scope="session")
def shipped_optimized(session_folder, shipped, warm):
    """Return a folder like `shipped` in which the README's first command ran as well."""
    page = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    command = re.search(r"^\$ titrant (optimize .*)$", page, re.M)[1]
    return _ran(session_folder / "shipped_optimized", shipped, warm, *shlex.split(command))


# Pages that do what others do as well: where that was done, so that what a page runs goes on from there.
BEGUN = {
    "README": "shipped_optimized",
    "doctor": "shipped_doctor",
    "keep-layers": "shipped_digits",
    "segmentation": "shipped_masks",
    "start-a-recipe": "shipped_optimized",
}


@pytest.fixture
def place_of_page(request, tmp_path):
    """Return a place of a page's own, with recipes and a home, by the page's name."""

    def copied(name):
        return shutil.copytree(request.getfixturevalue(BEGUN.get(name, "shipped")), tmp_path / "place")

    return copied


def _ran(place, start, warm, *arguments):
    """Copy what stands in another folder, recipes and a home, and call titrant there; where nobody did so already."""
    with FileLock(f"{place}.lock"):
        if not place.exists():
            making = place.with_name(f"{place.name}_making")
            for name in ("recipes", "home"):
                if (start / name).exists():
                    shutil.copytree(start / name, making / name)
            done = warm("-m", "titrant", *arguments, cwd=making, env={"TITRANT_HOME": str(making / "home")})
            assert done.returncode == 0, done.stdout + done.stderr
            making.rename(place)
    return place


@pytest.fixture
def lines_run():
    """Count the lines of Python that a call runs: what makes it quick or slow on any machine, however busy."""

    def count(call):
        found, before = 0, sys.gettrace()

        def trace(frame, event, argument):
            nonlocal found
            found += 1
            return trace

        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(before)
        return found

    return count

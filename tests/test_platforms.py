"""Windows and macOS: nothing is imported or called that is not there, in imports, commands and a dry run.

Neither system is at hand: a Linux process is made to look like one, without the modules and functions that it lacks.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What a Python of that system does not have. What only subprocess and threading need stays, since they are Linux's.
PRELUDE = """
import os, select, signal, subprocess, sys
system = {system!r}
absent = {{
    "win32": ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog", "readline"),
    "darwin": (),
}}[system]
gone = {{
    "win32": {{
        os: ("fork", "killpg", "setsid", "getuid", "geteuid", "getgid", "sched_getaffinity", "pread", "pwrite",
             "sysconf", "mkfifo", "getloadavg", "wait4", "sched_setaffinity"),
        signal: ("SIGKILL", "SIGALRM", "SIGSTOP", "SIGCONT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "setitimer",
                 "ITIMER_REAL", "pthread_kill", "sigwait", "alarm", "pause"),
        select: ("poll", "epoll"),
    }},
    "darwin": {{os: ("sched_getaffinity", "sched_setaffinity"), select: ("epoll",)}},
}}[system]
# Others' code is Linux's here, and is loaded as that.
import importlib, sysconfig
sysconfig.get_config_vars()
for name in {loaded!r}:
    importlib.import_module(name)
for name in absent:
    sys.modules[name] = None
for holder, names in gone.items():
    for name in names:
        if hasattr(holder, name):
            delattr(holder, name)
sys.platform = system
"""
IMPORTS = """
import pkgutil
import titrant
items = pkgutil.walk_packages(titrant.__path__, "titrant.")
names = [item.name for item in items if not item.name.endswith("__main__")]
failed = []
for name in names:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed.append(f"{name}: {type(error).__name__}: {error}")
print(f"{len(names)} modules", *failed, sep="\\n")
"""


LIGHT = (
    "asyncio", "blake3", "concurrent.futures", "ctypes.util", "filelock", "importlib.metadata", "jinja2",
    "multiprocessing",
    "numpy", "platform", "psutil", "pydantic.main", "pynvml", "rich.console", "ruamel.yaml", "shutil", "tempfile",
    "threading", "uuid", "zoneinfo",
)  # fmt: skip
HEAVY = ("torch", "torch.distributed", "openvino", "nncf", "onnxruntime", "PIL.Image")


# In a process that begins with titrant loaded: it is to be loaded as on that system.
ANEW = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "titrant"]:
    del sys.modules[name]
"""


def on(system, code, folder, warm):
    """Run code as if on another system."""
    script = ANEW + PRELUDE.format(system=system, loaded=LIGHT) + textwrap.dedent(code)
    return warm("-c", script, cwd=folder, env={"TITRANT_HOME": str(folder / "home")}, starts=0)


FORKS = """
import importlib, os, sys, traceback
for name in {loaded!r}:
    importlib.import_module(name)
for system, code in {codes!r}.items():
    child = os.fork()
    if child == 0:
        os.dup2(os.open(system, os.O_WRONLY | os.O_CREAT), 1)
        try:
            exec(code, {{"__name__": "__main__"}})
        except BaseException:
            print(traceback.format_exc())
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""
SYSTEMS = ("win32", "darwin")


@pytest.fixture(scope="module")
def imported(tmp_path_factory, warm):
    """A folder with what importing every module says on each system, by forks of a process that has loaded others'."""
    folder = tmp_path_factory.mktemp("imported")
    codes = {system: PRELUDE.format(system=system, loaded=()) + IMPORTS for system in SYSTEMS}
    script = ANEW + FORKS.format(loaded=LIGHT + HEAVY, codes=codes)
    done = warm("-c", script, cwd=folder, env={"TITRANT_HOME": str(folder / "home")}, starts=0)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_imports_every_module(system, imported):
    count, *failed = (imported / system).read_text("utf-8").splitlines()
    assert failed == []
    assert int(count.split()[0]) > 500


@pytest.fixture(scope="module")
def planned(tmp_path_factory, warm):
    """A recipe that was planned once as it is, so that the facts of its model and data are there."""
    folder = tmp_path_factory.mktemp("platforms")
    (folder / "recipe.yaml").write_text((ROOT / "recipes" / "breast_cancer.yaml").read_text("utf-8"))
    done = warm("-m", "titrant", "plan", "recipe.yaml", cwd=folder, env={"TITRANT_HOME": str(folder / "home")})
    assert done.returncode == 0, done.stderr
    return folder


COMMANDS = (
    ["--help"], ["check", "recipe.yaml"], ["plan", "recipe.yaml"], ["run", "recipe.yaml", "--dry-run"],
    ["status", "recipe.yaml"], ["hardware"], ["store", "verify"], ["show", "operators"],
)  # fmt: skip


@pytest.mark.parametrize("system", SYSTEMS)
def test_does_a_dry_run(system, planned, warm):
    code = f"""
    from titrant.cli.main import main
    for arguments in {COMMANDS!r}:
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = ended.code or 0
        print("ended", *arguments, "with", code)
    """
    done = on(system, code, planned, warm)
    ends = [line for line in done.stdout.splitlines() if line.startswith("ended ")]
    assert ends == [f"ended {' '.join(arguments)} with 0" for arguments in COMMANDS], done.stderr


def test_answers_over_pipes_where_nothing_waits_for_them(tmp_path):
    """The worker itself, whose parent reads in a thread as on Windows; the processes are Linux's."""
    code = """
    import os, select, sys
    del select.poll
    from pathlib import Path
    from titrant.runtime.store.home import open_home
    from titrant.runtime.worker.parent import Worker
    from titrant.runtime.worker.pipe import PipeLines
    from titrant.runtime.worker.messages import WorkerDiedError
    with Worker(open_home(), Path.cwd(), 1, 42) as worker:
        print(sorted(worker.ask({"do": "describe", "operator": "data.load"})))
        try:
            worker.ask({"do": "run"})
        except Exception as error:
            print(type(error).__name__)
        print(sorted(worker.ask({"do": "describe", "operator": "data.load"})))
    """
    environment = os.environ | {"TITRANT_HOME": str(tmp_path / "home")}
    arguments = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    first, failed, again = done.stdout.splitlines()
    assert first == again
    assert failed == "StepError"

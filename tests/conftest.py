"""What every test begins with: no chance, no clock, and nothing of the shell that started it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

# The same examples in every run, however slow the machine. `pytest --hypothesis-profile search` looks for new ones.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("suite")

# What would change what is printed, or where git and Python look.
FOREIGN = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "PYTHONSAFEPATH", "PYTHONWARNINGS", "GIT_DIR", "GIT_WORK_TREE")

SOURCE = str(Path(__file__).parents[1] / "src")


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory):
    """Give tests that name no home one of this session's, and take away what a shell may have set."""
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ["TITRANT_HOME"] = str(tmp_path_factory.mktemp("home"))


# What most runs load, and takes most of their time; onnxruntime begins threads, which no fork has.
HEAVY = (
    "torch", "torch._dynamo", "torch.onnx", "onnx", "pandas", "sklearn.datasets", "scipy.optimize", "scipy.special",
    "matplotlib.pyplot", "jinja2", "titrant.cli.plan", "titrant.cli.run", "titrant.compiler.compile",
    "titrant.runtime.run.execute", "titrant.runtime.worker.child",
)  # fmt: skip


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """Return a function that runs `python ARGUMENTS` in a process that `tests/warm.py` forks, which starts sooner."""
    place = tmp_path_factory.mktemp("warm")
    path = os.pathsep.join(filter(None, (SOURCE, os.environ.get("PYTHONPATH", ""))))
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "warm.py"), *HEAVY], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        cwd=place, text=True, env={
            **os.environ, "PYTHONPATH": path, "PYDANTIC_DISABLE_PLUGINS": "__all__", "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
    )  # fmt: skip

    def run(*arguments, cwd, env, timeout=600):
        environment = {**os.environ, "PYTHONPATH": path, "CI": "true", **env}
        asked = {"arguments": list(map(str, arguments)), "folder": str(cwd), "environment": environment}
        files = {"out": str(place / "out"), "err": str(place / "err")}
        server.stdin.write(f"{json.dumps({**asked, **files, 'seconds': timeout})}\n")
        server.stdin.flush()
        code = json.loads(server.stdout.readline())
        if code is None:
            raise subprocess.TimeoutExpired(asked["arguments"], timeout)
        texts = (Path(file).read_text("utf-8") for file in files.values())
        return subprocess.CompletedProcess(asked["arguments"], code, *texts)

    yield run
    server.stdin.close()
    server.wait()
    server.stdout.close()


@pytest.fixture(scope="session")
def shipped(tmp_path_factory):
    """Return a folder with `recipes/` of which one ran into `home/`: made once for all workers, to be copied."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shipped"
    path = os.pathsep.join(filter(None, (SOURCE, os.environ.get("PYTHONPATH", ""))))
    with FileLock(f"{place}.lock"):
        if not place.exists():
            making = Path(shutil.copytree(Path(__file__).parents[1] / "recipes", place.with_name("making") / "recipes"))
            subprocess.run(
                [sys.executable, "-m", "titrant", "run", "-q", "recipes/breast_cancer.yaml"], cwd=making.parent,
                env={**os.environ, "TITRANT_HOME": str(making.parent / "home"), "CI": "true", "PYTHONPATH": path},
                stdin=subprocess.DEVNULL, check=True,
            )  # fmt: skip
            making.parent.rename(place)
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

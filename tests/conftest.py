"""What every test begins with: no chance, no clock, and nothing of the shell that started it."""

import os
import sys

import pytest
from hypothesis import settings

# The same examples in every run, however slow the machine. `pytest --hypothesis-profile search` looks for new ones.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("suite")

# What would change what is printed, or where git and Python look.
FOREIGN = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "PYTHONSAFEPATH", "PYTHONWARNINGS", "GIT_DIR", "GIT_WORK_TREE")


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory):
    """Give tests that name no home one of this session's, and take away what a shell may have set."""
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ["TITRANT_HOME"] = str(tmp_path_factory.mktemp("home"))


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

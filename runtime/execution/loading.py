"""Load the libraries that a step is going to need, apart from its work: what that costs is not the step's."""

import contextlib
import importlib
import sys
import time
from collections.abc import Iterable


def load(modules: Iterable[str]) -> dict[str, float]:
    """Import the modules that are not there yet; returns the seconds that each took.

    One that cannot be imported is left to the step, which says what it needs and what would make it possible.
    """
    taken: dict[str, float] = {}
    for module in modules:
        if module in sys.modules:
            continue
        begun = time.perf_counter()
        with contextlib.suppress(ImportError, OSError):
            importlib.import_module(module)
            taken[module] = time.perf_counter() - begun
    return taken

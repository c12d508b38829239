"""Gather what planning needs to know: the home, the machine, the model and the data."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.compiler.bound import BoundRecipe
from titrant.compiler.learned import NO_HISTORY, History
from titrant.runtime.execution.home import Home, home_to_read
from titrant.schema.facts import Hardware

if TYPE_CHECKING:
    from titrant.runtime.execution.worker import Worker

Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@contextmanager
def inspector(bound: BoundRecipe, home: Home) -> Iterator[tuple[Ask, "list[Worker]"]]:
    """Give a function that asks a child process, started at the first question and kept in the list.

    Whoever wants the worker afterwards (a run does: torch is loaded already) takes it out of the list; a worker left
    in it is closed.
    """
    started: list[Worker] = []

    def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
        if not started:
            from titrant.runtime.execution.worker import Worker

            recipe = bound.recipe
            started.append(Worker(home, bound.folder, recipe.reproducibility.threads, recipe.seed))
        return started[0].ask(request)

    try:
        yield ask, started
    finally:
        for worker in started:
            worker.close()


def history(home: Home, machine: Hardware) -> History:
    """Return what steps cost on this machine before; nothing is known of another one, which is only planned for."""
    from titrant.runtime.execution.history import HistoryFile

    if machine.source != "detected":
        return NO_HISTORY
    return History(HistoryFile(home, machine.identity).read())


def home_folder() -> Path:
    """Return where titrant keeps its store, results and runs, to look things up: it may be read-only, or not there."""
    return home_to_read().path

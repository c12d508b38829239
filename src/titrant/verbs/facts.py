"""Gather what planning needs to know: the home, the machine, the model and the data."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
    in it is closed. In a home that cannot be written it works beside it, in a folder that then goes.
    """
    started: list[Worker] = []
    beside = ExitStack()

    def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
        if not started:
            from titrant.runtime.execution.worker import Worker

            recipe = bound.recipe
            place = beside.enter_context(_writable(home))
            started.append(Worker(place, bound.folder, recipe.reproducibility.threads, recipe.seed))
        return started[0].ask(request)

    with beside:
        try:
            yield ask, started
        finally:
            for worker in started:
                worker.close()


@contextmanager
def _writable(home: Home) -> Iterator[Home]:
    """Give the home, made where it is missing, or where that cannot be an empty one for as long as it takes."""
    from titrant.runtime.execution.home import open_home
    from titrant.schema.diagnostics import RecipeError

    try:
        opened = open_home(home.path)
    except RecipeError as error:
        if error.diagnostics[0].code != "X300":
            raise
        from tempfile import TemporaryDirectory

        with TemporaryDirectory(prefix="titrant-") as folder:
            yield open_home(Path(folder))
    else:
        yield opened


def history(home: Home, machine: Hardware) -> History:
    """Return what steps cost on this machine before; nothing is known of another one, which is only planned for."""
    from titrant.runtime.execution.history import HistoryFile

    if machine.source != "detected":
        return NO_HISTORY
    return History(HistoryFile(home, machine.identity).read())


def home_folder() -> Path:
    """Return where titrant keeps its store, results and runs, to look things up: it may be read-only, or not there."""
    return home_to_read().path

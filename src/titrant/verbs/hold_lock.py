"""Run a recipe exactly as its lock says, or release nothing."""

from pathlib import Path
from typing import TYPE_CHECKING

from titrant.planned import Planned
from titrant.schema.record import RunRecord

if TYPE_CHECKING:
    from titrant.runtime.execution.rerun.replay import Replay


def hold(planned: Planned) -> "Replay":
    """Return how a locked run goes: the lock's choices replayed, and nothing released whose results differ.

    Raises StaleError where there is no lock or no entry for this class of hardware, or where the plan differs from it.
    """
    from titrant.runtime.execution.rerun.replay import Replay
    from titrant.schema.lock_text import lock_path
    from titrant.verbs.check_lock import entry_here, refuse_if_stale, stale

    path = lock_path(Path(planned.recipe_file))
    entry = entry_here(planned, path)
    refuse_if_stale(path, entry, planned)

    def accept(record: RunRecord) -> None:
        from titrant.schema.compare_locks import first_difference
        from titrant.verbs.lock_entry import entry_of

        differs = first_difference(entry, entry_of(planned.plan, record, entry.evaluation.runs))
        if differs:
            raise stale(path, differs)

    return Replay(choices={name: search.judged for name, search in entry.searches.items()}, accept=accept)

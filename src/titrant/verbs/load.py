"""Load a released model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from titrant.runtime.released import Released


def load(run: str | os.PathLike[str], *, name: str | None = None, threads: int | None = None) -> "Released":
    """Return a callable that applies a released run's transforms, model and operating point to raw rows.

    `run` is a run's folder or its `outputs`, an id, a unique prefix, or "latest". `name` chooses among several
    released files; `threads` defaults to what the release was timed with. Raises RecipeError when there is no such
    run, or it released nothing.
    """
    from titrant.runtime.released import load as load_folder
    from titrant.verbs.facts import home_folder
    from titrant.verbs.runs import find_run

    folder = Path(run)
    if not folder.is_dir():
        folder = find_run(str(run), home_folder())
    return load_folder(folder, name=name, threads=threads)

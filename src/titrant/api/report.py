"""Find the report of a run."""

from pathlib import Path
from typing import Literal

from titrant.api.runs import find_run
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError


def report(run: str, *, format: Literal["html", "md", "json"] = "html") -> Path:
    """Return the report file of a run (folder, id, unique prefix, or latest)."""
    from titrant.runtime.store.home import home_folder

    folder = find_run(run, home_folder())
    file = folder / f"report.{format}"
    if not file.is_file():
        raise RecipeError(
            Diagnostic(
                "P008", f"the run {folder.name} has no report: it did not finish", help="run its recipe again to go on"
            )
        )
    return file

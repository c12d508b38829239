"""Find the report of a run, or write the rows that it judged to a file."""

import os
from pathlib import Path
from typing import Literal

from titrant.api.runs import find_run
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError


def report(
    run: str, *, format: Literal["html", "md", "json"] = "html", rows: str | os.PathLike[str] | None = None
) -> Path:
    """Return the report file of a run (folder, id, unique prefix, or latest).

    With `rows`, the name of a new .csv or .npz file, write the evaluation rows and both models' answers there and
    return it. Raises RecipeError when there is no such run or report, the run judged no rows, or the file cannot be
    written.
    """
    from titrant.runtime.store.home import home_folder

    if rows is not None:
        return _write_rows(run, Path(rows))
    folder = find_run(run, home_folder())
    file = folder / f"report.{format}"
    if not file.is_file():
        raise RecipeError(
            Diagnostic(
                "P008", f"the run {folder.name} has no report: it did not finish", help="run its recipe again to go on"
            )
        )
    return file


def _write_rows(run: str, file: Path) -> Path:
    from titrant.api.diff import run_of
    from titrant.runtime.report.row_file import write_rows
    from titrant.runtime.store.home import open_home

    recorded = run_of(run)
    write_rows(recorded.plan, recorded.record, open_home(), file)
    return file

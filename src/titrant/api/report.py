"""Find the report of a run, write the rows that it judged to a file, pack its folder into one file, and unpack it."""

import os
from pathlib import Path
from typing import Literal

from titrant.api.runs import find_run
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

Format = Literal["html", "md", "json"]


def report(
    run: str,
    *,
    format: Format = "html",
    rows: str | os.PathLike[str] | None = None,
    pack: str | os.PathLike[str] | None = None,
    unpack: str | os.PathLike[str] | None = None,
) -> Path:
    """Return the report file of a run (folder, id, unique prefix, or latest).

    With `rows`, the name of a new .csv or .npz file, write the evaluation rows and both models' answers there and
    return it. With `pack`, the name of a new file, write the run's whole folder there, sealed where TITRANT_KEY holds a
    key, and return it. With `unpack`, a new folder, `run` is the path of a packed run: it is unpacked there, and its
    report is returned. Raises RecipeError when there is no such run or report, the run judged no rows, a file cannot be
    written, or a packed run is damaged or does not open.
    """
    from titrant.runtime.store.home import home_folder

    if rows is not None:
        return _write_rows(run, Path(rows))
    if unpack is not None:
        from titrant.runtime.store.packed import unpack as unpacked

        unpacked(Path(run), Path(unpack))
        return _report_in(Path(unpack), format)
    folder = find_run(run, home_folder())
    file = _report_in(folder, format)
    return file if pack is None else _pack(folder, Path(pack))


def packed_report(file: str | os.PathLike[str], format: Literal["md", "json"] = "md") -> str:
    """Return the report of a packed run as text, once all of the file was read and is intact; RecipeError else."""
    from titrant.runtime.store.packed import packed_file

    return packed_file(Path(file), f"report.{format}").decode()


def _report_in(folder: Path, format: Format) -> Path:
    file = folder / f"report.{format}"
    if not file.is_file():
        raise RecipeError(
            Diagnostic(
                "P008", f"the run {folder.name} has no report: it did not finish", help="run its recipe again to go on"
            )
        )
    return file


def _pack(folder: Path, file: Path) -> Path:
    from titrant.runtime.store.packed import pack
    from titrant.schema.config.sealed import KEY_VARIABLE, key_from_environment

    pack(folder, file, key=key_from_environment() if os.environ.get(KEY_VARIABLE) else None)
    return file


def _write_rows(run: str, file: Path) -> Path:
    from titrant.api.diff import run_of
    from titrant.runtime.report.row_file import write_rows
    from titrant.runtime.store.home import open_home

    recorded = run_of(run)
    write_rows(recorded.plan, recorded.record, open_home(), file)
    return file

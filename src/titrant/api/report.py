"""Find the report of a run, compare several, write the rows that one judged to a file, pack its folder, unpack it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from titrant.api.runs import find_run
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

if TYPE_CHECKING:
    from titrant.runtime.instruments.hardware.run_utilization import RunUtilization

Format = Literal["html", "md", "json"]


def report(
    run: str,
    *others: str,
    format: Format = "html",
    rows: str | os.PathLike[str] | None = None,
    pack: str | os.PathLike[str] | None = None,
    unpack: str | os.PathLike[str] | None = None,
) -> Path:
    """Return the report file of a run (folder, id, unique prefix, or latest), or one that compares it with others.

    A comparison is made of the runs' own reports and lies in the home, in `compared`. With `rows`, the name of a new
    .csv or .npz file, write the evaluation rows and both models' answers there and return it. With `pack`, the name of
    a new file, write the run's whole folder there, sealed where TITRANT_KEY holds a key, and return it. With `unpack`,
    a new folder, `run` is the path of a packed run: it is unpacked there, and its report is returned. Raises
    RecipeError when there is no such run or report, the run judged no rows, a file cannot be written, or a packed run
    is damaged or does not open.
    """
    from titrant.runtime.store.home import home_folder

    action = next((name for name, file in (("rows", rows), ("pack", pack), ("unpack", unpack)) if file is not None), "")
    if action and others:
        message = f"--{action} takes one run, and {len(others) + 1} are named"
        raise RecipeError(Diagnostic("P036", message, help="name one"))
    if rows is not None:
        return _write_rows(run, Path(rows))
    if unpack is not None:
        from titrant.runtime.store.packed import unpack as unpacked

        unpacked(Path(run), Path(unpack))
        return _report_in(Path(unpack), format)
    if others:
        return _compared((run, *others), format)
    folder = find_run(run, home_folder())
    return _report_in(folder, format) if pack is None else _pack(folder, Path(pack))


def packed_report(file: str | os.PathLike[str], format: Literal["md", "json"] = "md") -> str:
    """Return the report of a packed run as text, once all of the file was read and is intact; RecipeError else."""
    from titrant.runtime.store.packed import packed_file

    content = packed_file(Path(file), f"report.{format}")
    if content is None:
        raise _without_report(str(file), format)
    return content.decode()


def read_utilization(folder: Path) -> "RunUtilization | None":
    """Return what the hardware did during the run of a folder; None where nobody asked, RecipeError if damaged."""
    from titrant.runtime.store.run_folder import UTILIZATION_FILE

    file = folder / UTILIZATION_FILE
    if not file.is_file():
        return None
    from titrant.api.runs import damaged, read_json
    from titrant.runtime.instruments.hardware.run_utilization import RunUtilization
    from titrant.schema.values.canonical import WrongValueError, read_back

    try:
        return read_back(RunUtilization, read_json(file))
    except WrongValueError as error:
        raise damaged(file, str(error)) from None


def _report_in(folder: Path, format: Format) -> Path:
    file = folder / f"report.{format}"
    if not file.is_file():
        raise _without_report(folder.name, format)
    return file


def _without_report(name: str, format: Format) -> RecipeError:
    message = f"the run {name} has no report.{format}: it did not finish, or its recipe leaves it out"
    advice = "run its recipe again to go on; `report.formats` names the formats"
    return RecipeError(Diagnostic("P008", message, help=advice))


def _pack(folder: Path, file: Path) -> Path:
    from titrant.runtime.store.packed import pack
    from titrant.schema.config.sealed import KEY_VARIABLE, key_from_environment

    pack(folder, file, key=key_from_environment() if os.environ.get(KEY_VARIABLE) else None)
    return file


def _compared(names: tuple[str, ...], format: Literal["html", "md", "json"]) -> Path:
    from titrant.api.runs import damaged, read_json
    from titrant.runtime.report.compare.runs import compare_runs
    from titrant.runtime.report.compare.written import comparison_html, comparison_json, comparison_markdown
    from titrant.runtime.report.record_view import read_record
    from titrant.runtime.store.home import open_home
    from titrant.schema.diagnostics.diagnostics import StepError
    from titrant.schema.values.canonical import sha256
    from titrant.schema.values.text import printable

    files = [report(name, format="json") for name in names]
    records = {}
    for file in files:
        try:
            # A run's report shows no small groups, and so neither does what is made of it.
            records[file.parent.resolve().name] = read_record(read_json(file).get("record") or {})
        except (StepError, AttributeError) as error:
            raise damaged(file, str(error)) from None
    if len(records) < 2:
        raise RecipeError(
            Diagnostic("P008", f"{' and '.join(names)} are the same run", help="name two runs: titrant show runs")
        )
    write = {"html": comparison_html, "md": comparison_markdown, "json": comparison_json}[format]
    text = printable(write(compare_runs(records)))
    place = open_home().compared / f"{sha256(list(records))[:12]}.{format}"
    place.parent.mkdir(exist_ok=True)
    place.write_text(text, encoding="utf-8", newline="\n")
    return place


def _write_rows(run: str, file: Path) -> Path:
    from titrant.api.diff import run_of
    from titrant.runtime.report.row_file import write_rows
    from titrant.runtime.store.home import open_home

    recorded = run_of(run)
    write_rows(recorded.plan, recorded.record, open_home(), file)
    return file

"""How every kind of artifact is written to a folder and read back.

Kinds of models belong to the engines (`titrant.runtime.backends.backend`). The module of any other kind offers
`save_<kind>(value, folder)`, which writes fixed file names with bytes that follow from the value alone, and
`load_<kind>(folder)`. JSON values and reports are written here.
"""

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends import backend
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.canonical import canonical_json

if TYPE_CHECKING:
    from titrant.runtime.values import ReportFiles

# kind of what is no model → the module that writes and reads it
_MODULES = {
    "outputs": "titrant.runtime.backends.rows",  # what a model answered for one role
    "report": "titrant.runtime.backends.kinds",  # report.html, report.md, report.json
    "rows": "titrant.runtime.backends.rows",  # one role's model-ready arrays, labels, units and subgroups
    "split": "titrant.runtime.backends.rows",  # which row of which source has which role
    "tables": "titrant.runtime.backends.rows",  # the data as loaded, by source name
    "transforms": "titrant.runtime.data.saved_transforms",  # the fitted transforms
    "value": "titrant.runtime.backends.kinds",  # JSON: measurements, operating point, gate results
}


def save(kind: str, value: Any, folder: Path) -> None:
    """Write a value into an empty folder; KeyError for a kind that is not there.

    Raises StepError X222 where an engine's kind writes nothing, or not the file that it names.
    """
    if kind in _MODULES:
        getattr(_module(kind), f"save_{kind}")(value, folder)
        return
    model = backend.kinds()[kind]
    model.save(value, folder)
    if not any(folder.iterdir()) or (model.file and not (folder / model.file).is_file()):
        missing = model.file or "any file"
        message = f"saving {model.title} left no {missing} behind"
        raise StepError(Diagnostic("X222", message, help=f"mend `save` of the kind {kind}, or its `file`"))


def load(kind: str, folder: Path) -> Any:
    """Read a value that `save` wrote; the folder's files are not to be changed."""
    if kind in _MODULES:
        return getattr(_module(kind), f"load_{kind}")(folder)
    model = backend.kinds()[kind]
    return model.load(folder / model.file if model.file else folder)


def as_loaded(kind: str, value: Any) -> Any:
    """Return a value that was just saved as loading it would give it: equal numbers, lying alike in memory."""
    if kind not in _MODULES and (arranged := backend.kinds()[kind].as_loaded) is not None:
        return arranged(value)
    from titrant.runtime.values import with_layout

    return with_layout(value)


def refers_to_files(kind: str) -> bool:
    """Tell whether a value of a kind is a path: it is loaded again after saving, and its folder must outlive it."""
    return kind == _REPORT or (kind not in _MODULES and backend.kinds()[kind].as_loaded is None)


def _module(kind: str) -> Any:
    return import_module(_MODULES[kind])


_REPORT = "report"
VALUE_FILE = "value.json"


def save_value(value: Any, folder: Path) -> None:
    """Write canonical JSON; TypeError or ValueError for what JSON cannot hold."""
    (folder / VALUE_FILE).write_bytes(encode(value))


def encode(value: Any) -> bytes:
    """Return the bytes that `save_value` writes."""
    return canonical_json(value).encode()


def load_value(folder: Path) -> Any:
    """Read the JSON."""
    return json.loads((folder / VALUE_FILE).read_bytes())


REPORT_FILES = ("report.html", "report.md", "report.json")


def save_report(value: "ReportFiles", folder: Path) -> None:
    """Copy the files that a report has."""
    for name in REPORT_FILES:
        if (value.folder / name).is_file():
            shutil.copyfile(value.folder / name, folder / name)


def load_report(folder: Path) -> "ReportFiles":
    """Refer to the files."""
    from titrant.runtime.values import ReportFiles

    return ReportFiles(folder)

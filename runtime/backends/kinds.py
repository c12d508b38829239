"""How every kind of artifact is written to a folder and read back.

The module of a kind offers `save_<kind>(value, folder)`, which writes fixed file names with bytes that follow from the
value alone, and `load_<kind>(folder)`. A value of a kind in `FILE_KINDS` refers to files in the folder that it was
loaded from. JSON values and reports, which belong to no engine, are written here.
"""

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.schema.values.canonical import canonical_json

if TYPE_CHECKING:
    from titrant.runtime.values import ReportFiles

# kind → the module that writes and reads it
_MODULES = {
    "onnx": "titrant.runtime.backends.onnxruntime.session",  # one file
    "outputs": "titrant.runtime.backends.rows",  # what a model answered for one role
    "report": "titrant.runtime.backends.kinds",  # report.html, report.md, report.json
    "rows": "titrant.runtime.backends.rows",  # one role's model-ready arrays, labels, units and subgroups
    "split": "titrant.runtime.backends.rows",  # which row of which source has which role
    "tables": "titrant.runtime.backends.rows",  # the data as loaded, by source name
    "torch": "titrant.runtime.backends.torch.module",  # factory, rewrites and safetensors
    "torchscript": "titrant.runtime.backends.torch.script",  # one file
    "transforms": "titrant.runtime.backends.transforms",  # the fitted transforms
    "value": "titrant.runtime.backends.kinds",  # JSON: measurements, operating point, gate results
}
# Kinds whose values are paths: they are loaded again after saving, and their folder must outlive them.
FILE_KINDS = ("onnx", "torchscript", "report")


def save(kind: str, value: Any, folder: Path) -> None:
    """Write a value into an empty folder; KeyError for a kind that is not there."""
    getattr(_module(kind), f"save_{kind}")(value, folder)


def load(kind: str, folder: Path) -> Any:
    """Read a value that `save` wrote; the folder's files are not to be changed."""
    return getattr(_module(kind), f"load_{kind}")(folder)


def as_loaded(kind: str, value: Any) -> Any:
    """Return a value that was just saved as loading it would give it: equal numbers, lying alike in memory."""
    module = _module(kind)
    if hasattr(module, f"{kind}_as_loaded"):
        return getattr(module, f"{kind}_as_loaded")(value)
    from titrant.runtime.values import with_layout

    return with_layout(value)


def _module(kind: str) -> Any:
    return import_module(_MODULES[kind])


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
    """Copy the report's files."""
    for name in REPORT_FILES:
        shutil.copyfile(value.folder / name, folder / name)


def load_report(folder: Path) -> "ReportFiles":
    """Refer to the files."""
    from titrant.runtime.values import ReportFiles

    return ReportFiles(folder)

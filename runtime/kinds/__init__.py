"""How every kind of artifact is written to a folder and read back: one module a kind, named after it.

Such a module offers `save(value, folder)`, which writes fixed file names with bytes that follow from the value alone,
and `load(folder)`. A value of a kind in `FILES` refers to files in the folder that it was loaded from.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from titrant.schema.artifact import KINDS

# Kinds whose values are paths: they are loaded again after saving, and their folder must outlive them.
FILES = ("onnx", "torchscript", "report")


def save(kind: str, value: Any, folder: Path) -> None:
    """Write a value into an empty folder; KeyError for a kind that is not there."""
    _module(kind).save(value, folder)


def load(kind: str, folder: Path) -> Any:
    """Read a value that `save` wrote; the folder's files are not to be changed."""
    return _module(kind).load(folder)


def as_loaded(kind: str, value: Any) -> Any:
    """Return a value that was just saved as loading it would give it: equal numbers, lying alike in memory."""
    module = _module(kind)
    if hasattr(module, "as_loaded"):
        return module.as_loaded(value)
    from titrant.runtime.layout import with_layout

    return with_layout(value)


def _module(kind: str) -> Any:
    if kind not in KINDS:
        raise KeyError(kind)
    return import_module(f"{__name__}.{kind}")

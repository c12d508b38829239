"""Keep ONNX files as `model.onnx`."""

import shutil
from pathlib import Path

from titrant.runtime.values import OnnxModel

NAME = "model.onnx"


def save(value: OnnxModel, folder: Path) -> None:
    """Copy the file into a folder under its fixed name."""
    if value.path != folder / NAME:
        shutil.copyfile(value.path, folder / NAME)


def load(folder: Path) -> OnnxModel:
    """Return the file where it lies."""
    return OnnxModel(folder / NAME)

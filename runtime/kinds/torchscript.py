"""Keep TorchScript files as `model.pt`; their inputs and outputs are in their own extra file."""

import shutil
from pathlib import Path

from titrant.runtime.values import TorchScriptModel

# The archive inside is named after the file, so the name is part of the bytes.
NAME = "model.pt"


def save(value: TorchScriptModel, folder: Path) -> None:
    """Copy the file into a folder under its fixed name."""
    if value.path != folder / NAME:
        shutil.copyfile(value.path, folder / NAME)


def load(folder: Path) -> TorchScriptModel:
    """Return the file where it lies."""
    return TorchScriptModel(folder / NAME)

"""Write a file that the user named."""

from pathlib import Path

from titrant.schema.atomic import write_bytes
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.os_reason import os_reason


def write_file(file: Path, text: str) -> None:
    """Write a text whole or not at all, its folder made; RecipeError P003 where the system refuses."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, text.encode())
    except OSError as error:
        advice = "name a file in a folder that you may write to"
        raise RecipeError(Diagnostic("P003", f"{file} cannot be written: {os_reason(error)}", help=advice)) from None

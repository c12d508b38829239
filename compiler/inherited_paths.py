"""Write the paths that a recipe takes from its base as its own: relative to the recipe's folder."""

import os
from collections.abc import Mapping
from pathlib import Path as File
from typing import Any

from titrant.compiler.checks.files import named_files
from titrant.compiler.checks.look import Look, Path
from titrant.schema.source import ParsedRecipe


def own_paths(value: dict[str, Any], parsed: ParsedRecipe) -> dict[str, Any]:
    """Replace, in a recipe's plain value, every path that starts in its base's folder; returns the value."""
    for path, text in inherited_paths(parsed).items():
        inner: Any = value
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = text
    return value


def inherited_paths(parsed: ParsedRecipe) -> Mapping[Path, str]:
    """Return, by recipe path, what a path of the base is when it starts in the recipe's own folder."""
    here = parsed.folder.absolute()
    return {
        path: _from(here, file)
        for path, file in named_files(Look(parsed)).items()
        if parsed.source.folder(path).absolute() != here
    }


def _from(folder: File, file: File) -> str:
    """Name a file from a folder; absolutely where a linked folder, or another drive, lies between."""
    try:
        name = os.path.relpath(file, folder)
    except ValueError:
        return str(file)
    return File(name).as_posix() if (folder / name).resolve() == file.resolve() else str(file)

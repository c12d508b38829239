"""Take an answer about a recipe whose folder holds the user's own code for one about a copy of that folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def movable(kept: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a kept answer with where the recipe stood, and the modules that could be imported from there."""
    return {**kept, "folder": str(folder.resolve()), "modules": _modules(folder)}


def moved(kept: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a movable answer as one about `folder`: what it depends on below the old folder is expected below the new.

    Empty where there is none, and where other modules stand in `folder`: an import could find another one there.
    """
    try:
        old = Path(kept["folder"])
        if kept["modules"] != _modules(folder):
            return {}
        files = [{**file, "path": str(_below(Path(file["path"]), old, folder))} for file in kept["dependencies"]]
    except (KeyError, TypeError, OSError):
        return {}
    answer = {part: value for part, value in kept.items() if part not in {"folder", "modules"}}
    return {**answer, "dependencies": files}


def _modules(folder: Path) -> list[str]:
    """Name what Python can import from a folder: files of Python and folders."""
    return sorted(
        path.name for path in folder.iterdir() if path.suffix == ".py" or (path.is_dir() and path.name.isidentifier())
    )


def _below(path: Path, old: Path, new: Path) -> Path:
    return new / path.relative_to(old) if path.is_relative_to(old) else path

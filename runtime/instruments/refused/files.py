"""Refuse the path of a model or of inputs where no file is, in the same words everywhere."""

from pathlib import Path

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError


def no_file(path: Path | str, advice: str = "check the path") -> RecipeError:
    """Return X702 for a path where nothing is, or a folder; `advice` is what helps where nothing is."""
    if Path(path).is_dir():
        return RecipeError(Diagnostic("X702", f"{path} is a folder", help="name the file in it"))
    return RecipeError(Diagnostic("X702", f"there is no file {path}", help=advice))

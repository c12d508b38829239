"""Make directories, any number at once."""

from pathlib import Path

from titrant.schema.config.values import shown
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.os_reason import os_reason


def ensure_directories(*paths: Path | str) -> None:
    """Make directories and those above them; one that is there already is left as it is.

    All of them are tried. Raises RecipeError (R032) naming every path that is not a directory afterwards, and why.
    """
    wrong = [one for path in paths if (one := _made(Path(path))) is not None]
    if wrong:
        raise RecipeError(*wrong)


def _made(path: Path) -> Diagnostic | None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        there = next((one for one in (path, *path.parents) if one.is_symlink() or one.exists()), path)
        kind = "a broken link" if not there.exists() else "a file"
        message = f"the directory {path} cannot be made: {there} is {kind}"
        return Diagnostic("R032", message, help="move it away, or name another directory")
    except (OSError, ValueError) as error:
        text = os_reason(error) if isinstance(error, OSError) else str(error)
        message = f"the directory {shown(str(path))} cannot be made: {text}"
        return Diagnostic("R032", message, help="name a place that you may write to")
    return None

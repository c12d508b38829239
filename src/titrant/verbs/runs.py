"""Find a run by folder, id, unique prefix or `latest`."""

import json
from pathlib import Path
from typing import Any

from titrant.schema.diagnostics import Diagnostic, RecipeError


def find_run(name: str, home: Path, *, ended: bool = False) -> Path:
    """Return a run's folder; RecipeError when there is none or more than one of that name.

    With `ended` the latest is the one that came to its end last.
    """
    from titrant.runtime.execution.run_order import newest_first

    direct = Path(name)
    if (direct / "plan.json").is_file():
        return direct
    folders = [folder for folder in newest_first(home / "runs") if (folder / "plan.json").is_file()]
    if name == "latest":
        found = [folder for folder in folders if not ended or (folder / "record.json").is_file()][:1] or folders[:1]
    else:
        found = [folder for folder in folders if folder.name == name] or [
            folder for folder in folders if folder.name.startswith(name) or folder.name.endswith(name)
        ]
    if len(found) == 1:
        return found[0]
    if found:
        raise RecipeError(
            Diagnostic(
                "P007",
                f"'{name}' fits {len(found)} runs",
                help="one of: " + ", ".join(folder.name for folder in found[:8]),
            )
        )
    known = ", ".join(folder.name for folder in folders[:3])
    raise RecipeError(
        Diagnostic("P007", f"there is no run '{name}' in {home / 'runs'}",
                   help=f"the last runs are: {known}" if known else "make one with: titrant run RECIPE")
    )  # fmt: skip


def read_text(file: Path) -> str:
    """Read a file of a run's folder; RecipeError when it is missing or damaged."""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(file, str(error)) from None


def read_events(file: Path) -> list[dict[str, Any]]:
    """Read a journal's events; a line that was cut short is left out. RecipeError when the file cannot be read."""
    from titrant.runtime.execution.journal import read

    try:
        return read(file)
    except OSError as error:
        raise damaged(file, str(error)) from None


def read_json(file: Path) -> Any:
    """Read a JSON file of a run's folder; RecipeError when it is missing or damaged."""
    try:
        return json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise damaged(file, str(error)) from None


def damaged(file: Path, why: str) -> RecipeError:
    """Make the error about a file of a run's folder (P015)."""
    advice = "run the recipe again: what is stored is verified and reused"
    message = f"{file.name} of the run {file.parent.name} is missing or damaged: {why}"
    return RecipeError(Diagnostic("P015", message, help=advice))

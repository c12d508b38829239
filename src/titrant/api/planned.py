"""Save and load a plan with what it was made from, and read and write files that the user named."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.schema.contract.earlier import EarlierRelease
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.language.parse import ParsedRecipe
from titrant.schema.planned import Planned
from titrant.schema.values.canonical import WrongValueError, plain, read_back
from titrant.schema.values.files import write_bytes
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import first_line, os_reason

if TYPE_CHECKING:
    from titrant.compiler.given.file import FileToJudge


@dataclass(frozen=True)
class AsRecorded:
    """What a run judged and compared with: a file made elsewhere, and earlier runs by the preset of their rows."""

    optimized: "FileToJudge | None" = None
    earlier: Mapping[str, str] = field(default_factory=dict)


NOTHING_RECORDED = AsRecorded()
# The user's own code raised: nothing is wrong with what the command names.
_RAISED = "X108"


def save(planned: Planned, file: Path) -> None:
    """Write a plan for `titrant run FILE`; the same plan gives the same bytes.

    Raises RecipeError for a name that `run` would not take for a plan, and where anything but a saved plan stands.
    """
    if not is_saved_plan(file):
        raise RecipeError(Diagnostic("P003", f"{file} does not end in .json", help="a saved plan is a .json file"))
    if file.exists() and not _holds_plan(file):
        raise RecipeError(
            Diagnostic(
                "P003", f"{file} is there already and is not a saved plan", help="name a file that does not exist"
            )
        )
    if not file.parent.is_dir():
        raise RecipeError(Diagnostic("P003", f"there is no folder {file.parent}", help="make it first"))
    text = json.dumps({"titrant_plan": 1, **plain(planned)}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_file(file, text)


def _holds_plan(file: Path) -> bool:
    try:
        return file.is_file() and "titrant_plan" in json.loads(file.read_text("utf-8"))
    except (ValueError, TypeError, OSError):
        return False


def is_saved_plan(file: Path) -> bool:
    """Tell a saved plan from a recipe by its suffix."""
    return file.suffix == ".json"


def load(file: Path) -> Planned:
    """Read a saved plan; RecipeError when it is not one."""
    try:
        value = json.loads(file.read_text("utf-8"))
        version = value.pop("titrant_plan")
        if version != 1:
            raise ValueError(f"version {version}")
        return read_back(Planned, value)
    except FileNotFoundError:
        raise RecipeError(
            Diagnostic("P001", f"there is no file {file}", help="save one with: titrant plan RECIPE --out FILE")
        ) from None
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        kind = "" if isinstance(error, WrongValueError) else f"{type(error).__name__}: "
        reason = f"{kind}{first_line(error)}"
        raise RecipeError(
            Diagnostic(
                "P001", f"{file} is not a saved plan ({reason})", help="save one with: titrant plan RECIPE --out FILE"
            )
        ) from None


@contextmanager
def reading() -> Iterator[None]:
    """Turn errors of files that a command names into errors of its arguments; the user's own code keeps its own."""
    try:
        yield
    except StepError as error:
        if any(diagnostic.code == _RAISED for diagnostic in error.diagnostics):
            raise
        raise RecipeError(*error.diagnostics) from None


def write_file(file: Path, text: str) -> None:
    """Write a text whole or not at all, its folder made; RecipeError P003 where the system refuses."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, text.encode())
    except OSError as error:
        advice = "name a file in a folder that you may write to"
        raise RecipeError(Diagnostic("P003", f"{file} cannot be written: {os_reason(error)}", help=advice)) from None


_BASE_RANK = 1  # of a text that a recipe extends, see titrant.schema.language.spans.Origin


def as_written(recipe: ParsedRecipe, optimized: "FileToJudge | None" = None) -> dict[str, Any]:
    """Return {"text"}, with {"base": {"file", "text"}} where the recipe extends one, {"overrides"} where it has any.

    {"optimized": {"path", "engine"}} names a file that is judged and was made elsewhere. Texts are as they were read;
    who keeps them takes secrets out.
    """
    written: dict[str, Any] = {"text": recipe.text}
    if recipe.recipe.extends:
        places = [recipe.source.origin(path) for path in recipe.source.paths()]
        base = next((origin for origin in places if origin.rank == _BASE_RANK), None)
        if base is not None:
            written["base"] = {"file": base.file, "text": "\n".join(base.lines)}
    if recipe.overrides:
        written["overrides"] = list(recipe.overrides)
    if optimized is not None:
        written["optimized"] = {"path": str(optimized.path), "engine": optimized.engine}
    return written


def as_compared(releases: Mapping[str, EarlierRelease]) -> dict[str, Any]:
    """Return {"earlier": the runs that rows compare with, by their preset}; {} where none does."""
    return {"earlier": {name: release.run for name, release in releases.items()}} if releases else {}


def has_changed_since(saved: Planned) -> bool:
    """Tell whether the recipe that a saved plan was made from has changed; one that is gone has not.

    The plan holds its own copy, which is what runs.
    """
    file = Path(saved.recipe_file)
    place = file if file.is_absolute() else Path(saved.folder) / file.name
    try:
        now = place.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return bool(now != saved.written.get("text", saved.recipe_text))

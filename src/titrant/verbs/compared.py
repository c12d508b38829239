"""Read the two things that `titrant diff` compares, each from a file or a run's folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.schema.compare_plans import MadePlan
from titrant.schema.compare_runs import RecordedRun
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.difference import Difference
from titrant.schema.source import ParsedRecipe
from titrant.schema.source_map import SourceMap

if TYPE_CHECKING:
    from titrant.schema.plan import Plan


@dataclass(frozen=True)
class Compared:
    """What differs between two things of one kind, in causal order; `first_cause` is where two runs part."""

    kind: str
    old: str
    new: str
    differences: tuple[Difference, ...]
    first_cause: Difference | None = None


def kind_of(name: str) -> str:
    """Tell a recipe, a lock and a saved plan by their suffix; everything else is a run."""
    from titrant.schema.lock_name import is_lock

    if is_lock(name):
        return "lock"
    if name.endswith((".yaml", ".yml")):
        return "recipe"
    return "plan" if name.endswith(".json") else "run"


def made_plan(name: str, *, trust: bool = False) -> MadePlan:
    """Return the plan of a recipe as it would be made here, of a saved plan, or of a run."""
    kind = kind_of(name)
    if kind == "recipe":
        from titrant.schema.source import read
        from titrant.verbs.plan import plan

        recipe = read(Path(name))
        return MadePlan(plan(recipe, trust=trust).plan, recipe)
    if kind == "run":
        folder = run_folder(name)
        return MadePlan(_plan_of(folder), recipe_of(folder))
    from titrant.planned import load

    planned = load(Path(name))
    return MadePlan(planned.plan, parsed(planned.recipe_text, planned.recipe_file, Path(planned.folder)))


def run_folder(name: str, *, ended: bool = False) -> Path:
    """Find a run's folder by its path, id, unique prefix or `latest`; with `ended` that passes over unfinished runs."""
    from titrant.verbs.facts import home_folder
    from titrant.verbs.runs import find_run

    return find_run(name, home_folder(), ended=ended)


def run_of(name: str) -> RecordedRun:
    """Read a run that came to its end; RecipeError for one that did not."""
    from titrant.runtime.execution.folder import read_record
    from titrant.verbs.runs import damaged, read_json

    folder = run_folder(name)
    record = read_record(folder)
    if record is None:
        help_text = "run its recipe again: finished steps are reused"
        raise RecipeError(Diagnostic("P030", f"the run {folder.name} did not come to its end", help=help_text))
    environment = read_json(folder / "environment.json")
    if not isinstance(environment, dict):
        raise damaged(folder / "environment.json", "it holds no environment")
    return RecordedRun(_plan_of(folder), record, environment, recipe_of(folder))


def _plan_of(folder: Path) -> "Plan":
    from titrant.schema.plan import Plan
    from titrant.schema.read_back import WrongValueError, read_back
    from titrant.verbs.runs import read_json

    try:
        return read_back(Plan, read_json(folder / "plan.json"))
    except WrongValueError as error:
        message = f"the plan of {folder.name} cannot be read: {error}"
        help_text = "it may have been made by another version of titrant"
        raise RecipeError(Diagnostic("P030", message, help=help_text)) from None


def recipe_of(folder: Path) -> ParsedRecipe | None:
    """Return the recipe of a run; None where this version no longer reads it."""
    from titrant.verbs.runs import read_text

    return parsed(read_text(folder / "recipe.yaml"), f"{folder.name}/recipe.yaml", folder)


def parsed(text: str, file: str, folder: Path) -> ParsedRecipe | None:
    """Parse a recipe that was good when it was stored; None where this version no longer reads it."""
    from titrant.schema.source import parse

    try:
        return parse(text, file, folder=folder)
    except RecipeError:
        return None


def lock_text(name: str) -> SourceMap:
    """Read a lock file, each fact with its place."""
    from titrant.schema.intake import check_text, read_text, split_lines
    from titrant.schema.source import mapping
    from titrant.schema.spans import Origin

    path = Path(name)
    text = read_text(path, name)
    check_text(text, name)
    root, found = mapping(text, Origin(name, path.parent, split_lines(text)))
    if found:
        raise RecipeError(*found)
    return SourceMap(root)

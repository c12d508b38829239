"""Say what differs between two recipes, plans, runs or locks, and what caused it."""

from pathlib import Path
from typing import TYPE_CHECKING

from titrant.schema.compare.difference import Difference, places
from titrant.schema.compare.plans import MadePlan, compare_plans, compare_recipes
from titrant.schema.compare.runs import RecordedRun
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.parse import ParsedRecipe, mapping, parse, read
from titrant.schema.language.source_map import SourceMap
from titrant.schema.values.files import YAML_SUFFIXES
from titrant.schema.values.frozen import dataclass

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


def diff(old: str, new: str, *, trust: bool = False) -> Compared:
    """Compare two things by name: recipes (.yaml), saved plans (.json), locks (.lock.yaml), runs (all else).

    A recipe, a plan and a run can be compared with each other too: by their plans, the recipe's as it would be made
    now on this machine. `trust` lets that run the recipe's code from outside its folder. Raises RecipeError where
    either cannot be read, and for a lock beside anything but a lock.
    """
    kinds = kind_of(old), kind_of(new)
    if "lock" in kinds and kinds != ("lock", "lock"):
        other = next(kind for kind in kinds if kind != "lock")
        help_text = "compare two locks: titrant diff A.lock.yaml B.lock.yaml"
        raise RecipeError(Diagnostic("P030", f"a lock and a {other} cannot be compared", help=help_text))
    if kinds == ("recipe", "recipe"):
        return _recipes(old, new)
    if kinds == ("run", "run"):
        return _runs(old, new)
    if kinds == ("lock", "lock"):
        return _locks(old, new)

    differences = compare_plans(made_plan(old, trust=trust), made_plan(new, trust=trust))
    return Compared("plan", old, new, differences)


def _recipes(old: str, new: str) -> Compared:
    return Compared("recipe", old, new, compare_recipes(read(Path(old)), read(Path(new))))


def _runs(old: str, new: str) -> Compared:
    from titrant.runtime.rerun.check import recorded_claims
    from titrant.runtime.store.home import home_to_read
    from titrant.schema.compare.runs import compare_runs, first_cause

    before, after = run_of(old), run_of(new)
    claims = recorded_claims(home_to_read(), Path(str(after.environment.get("recipe_folder", ""))))
    differences = compare_runs(before, after, measures=lambda operator: claims(operator) == "measured")
    return Compared("run", before.record.run, after.record.run, differences, first_cause(differences))


def _locks(old: str, new: str) -> Compared:
    from titrant.schema.language.spans import dotted
    from titrant.schema.language.yaml_tree import plain_value

    before, after = lock_text(old), lock_text(new)
    differences = tuple(
        Difference(
            "lock",
            dotted(path),
            left,
            right,
            str(before.place(path)) if before.has(path) else "",
            str(after.place(path)) if after.has(path) else "",
        )
        for path, left, right in places(plain_value(before.root), plain_value(after.root))
    )
    return Compared("lock", old, new, differences)


def kind_of(name: str) -> str:
    """Tell a recipe, a lock and a saved plan by their suffix; everything else is a run."""
    from titrant.schema.values.files import is_lock

    if is_lock(name):
        return "lock"
    if name.endswith(YAML_SUFFIXES):
        return "recipe"
    return "plan" if name.endswith(".json") else "run"


def made_plan(name: str, *, trust: bool = False) -> MadePlan:
    """Return the plan of a recipe as it would be made here, of a saved plan, or of a run."""
    kind = kind_of(name)
    if kind == "recipe":
        from titrant.api.plan import plan
        from titrant.schema.language.parse import read

        recipe = read(Path(name))
        return MadePlan(plan(recipe, trust=trust).plan, recipe)
    if kind == "run":
        folder = run_folder(name)
        return MadePlan(_plan_of(folder), recipe_of(folder))
    from titrant.api.planned import load

    planned = load(Path(name))
    return MadePlan(planned.plan, parsed(planned.recipe_text, planned.recipe_file, Path(planned.folder)))


def run_folder(name: str, *, ended: bool = False) -> Path:
    """Find a run's folder by its path, id, unique prefix or `latest`; with `ended` that passes over unfinished runs."""
    from titrant.api.runs import find_run
    from titrant.runtime.store.home import home_folder

    return find_run(name, home_folder(), ended=ended)


def run_of(name: str) -> RecordedRun:
    """Read a run that came to its end; RecipeError for one that did not."""
    from titrant.api.runs import damaged, read_json
    from titrant.runtime.store.run_folder import read_record

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
    from titrant.api.runs import read_json
    from titrant.schema.plan import Plan
    from titrant.schema.values.canonical import WrongValueError, read_back

    try:
        return read_back(Plan, read_json(folder / "plan.json"))
    except WrongValueError as error:
        message = f"the plan of {folder.name} cannot be read: {error}"
        help_text = "it may have been made by another version of titrant"
        raise RecipeError(Diagnostic("P030", message, help=help_text)) from None


def recipe_of(folder: Path) -> ParsedRecipe | None:
    """Return the recipe of a run; None where this version no longer reads it."""
    from titrant.api.runs import read_text

    return parsed(read_text(folder / "recipe.yaml"), f"{folder.name}/recipe.yaml", folder)


def parsed(text: str, file: str, folder: Path) -> ParsedRecipe | None:
    """Parse a recipe that was good when it was stored; None where this version no longer reads it."""
    try:
        return parse(text, file, folder=folder)
    except RecipeError:
        return None


def lock_text(name: str) -> SourceMap:
    """Read a lock file, each fact with its place."""
    from titrant.schema.language.spans import Origin
    from titrant.schema.language.yaml_source import check_text, read_text, split_lines

    path = Path(name)
    text = read_text(path, name)
    check_text(text, name)
    root, diagnostics = mapping(text, Origin(name, path.parent, split_lines(text)))
    if diagnostics:
        raise RecipeError(*diagnostics)
    return SourceMap(root)

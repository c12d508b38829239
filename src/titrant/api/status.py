"""Say what would run now, and why."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.plan import StepPreview
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Status:
    """What running a recipe would do: each step's symbol and reason, and whether it would do anything at all."""

    steps: Mapping[str, StepPreview]
    up_to_date: bool

    def count(self, symbol: str) -> int:
        """Count the steps with a symbol: + run, ~ run again, = reuse, ? only if the search asks, ! cannot run here."""
        return sum(step.symbol == symbol for step in self.steps.values())


def status(recipe: Path, *, overrides: Sequence[str] = (), trust: bool = False) -> Status:
    """Plan a recipe and compare it with what has run: nothing is executed."""
    from titrant.api.plan import plan_and_preview
    from titrant.api.run import is_up_to_date
    from titrant.schema.language.parse import read

    _, seen = plan_and_preview(read(recipe, overrides), trust=trust, coverage=False)
    return Status(seen.steps, is_up_to_date(seen.steps))


@dataclass(frozen=True)
class Seen:
    """The recipes that ran in this home and still exist, in the order of their names, and the runs left out.

    A run that cannot be read says nothing of its recipe: `damaged` names each, in the order in which they began.
    """

    recipes: tuple[Path, ...]
    damaged: tuple[Diagnostic, ...] = ()


def recipes_seen() -> Seen:
    """List the recipes that ran in this home."""
    from titrant.runtime.store.home import home_folder, newest_first

    files: set[Path] = set()
    damaged: list[Diagnostic] = []
    for folder in reversed(newest_first(home_folder() / "runs")):
        try:
            file = _recipe_file(folder / "environment.json")
        except RecipeError as error:
            damaged += error.diagnostics
        else:
            if file is not None and file.is_file():
                files.add(file)
    return Seen(tuple(sorted(files)), tuple(damaged))


def _recipe_file(described: Path) -> Path | None:
    """Return the recipe that a run was of; None where there is no run, RecipeError P015 for one that cannot be read."""
    from titrant.api.runs import damaged, read_json

    if not described.is_file():
        return None
    environment = read_json(described)
    file = environment.get("recipe_file") if isinstance(environment, dict) else None
    if not isinstance(file, str):
        raise damaged(described, "it does not say which recipe ran")
    return Path(file) if file else None

"""Say what would run now, and why."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from titrant.schema.frozen import dataclass


@dataclass(frozen=True)
class Status:
    """One sentence, and each step's symbol and reason."""

    summary: str
    steps: Mapping[str, tuple[str, str]]


def status(recipe: Path, *, overrides: Sequence[str] = (), trust: bool = False) -> Status:
    """Plan a recipe and compare it with what has run: nothing is executed."""
    from titrant.schema.source import read
    from titrant.verbs.plan import plan, symbols
    from titrant.verbs.run import is_up_to_date

    found = symbols(plan(read(recipe, overrides), trust=trust))
    if is_up_to_date(found):
        return Status("up to date", found)
    again = sum(symbol == "~" for symbol, _ in found.values())
    new = sum(symbol == "+" for symbol, _ in found.values())
    reused = sum(symbol == "=" for symbol, _ in found.values())
    return Status(f"{new} steps to run, {again} to run again because something changed, {reused} reused", found)


def recipes_seen() -> list[Path]:
    """List the recipes that ran in this home and still exist, in the order of their names.

    Raises RecipeError (P015) where a run's environment.json is damaged.
    """
    from titrant.verbs.facts import home_folder
    from titrant.verbs.runs import damaged, read_json

    files = set()
    for described in (home_folder() / "runs").glob("*/environment.json"):
        environment = read_json(described)
        if not isinstance(environment, dict):
            raise damaged(described, "it holds no environment")
        file = environment.get("recipe_file")
        if file and Path(file).is_file():
            files.add(Path(file))
    return sorted(files)

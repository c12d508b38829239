"""Say what would run now, and why."""

import json
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
    """List the recipes that ran in this home and still exist, in the order of their names."""
    from titrant.verbs.facts import home_folder

    files = set()
    for described in (home_folder() / "runs").glob("*/environment.json"):
        file = json.loads(described.read_text("utf-8")).get("recipe_file")
        if file and Path(file).is_file():
            files.add(Path(file))
    return sorted(files)

"""Build a recipe of its sections."""

from pathlib import Path
from typing import Literal

from titrant.api.sections.built import UNWRITTEN, as_written, by_path
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.language.parse import ParsedRecipe, parse
from titrant.schema.language.write import dump
from titrant.schema.recipe.data import Data
from titrant.schema.recipe.deploy import Batching, Export, Memory, Target
from titrant.schema.recipe.level import Level
from titrant.schema.recipe.model import Model
from titrant.schema.recipe.observe import Inspect, Profile, Report, Tracking
from titrant.schema.recipe.recipe import LANGUAGE, Recipe, Task
from titrant.schema.recipe.reduce import Quantization, Reduction, Search
from titrant.schema.recipe.train import Reproducibility, Train
from titrant.schema.recipe.validation import Validation


def recipe(
    name: str,
    task: Task,
    model: Model,
    *,
    data: Data | None = None,
    description: str | None = None,
    level: Level | None = None,
    preserve: Literal["none", "medical"] | None = None,
    seed: int | None = None,
    reproducibility: Reproducibility | None = None,
    target: Target | None = None,
    train: Train | None = None,
    reduction: Reduction | None = None,
    quantization: Quantization | None = None,
    search: Search | None = None,
    memory: Memory | None = None,
    batching: Batching | None = None,
    export: tuple[Export, ...] | None = None,
    validation: Validation | None = None,
    profile: Profile | None = None,
    inspect: Inspect | None = None,
    report: Report | None = None,
    tracking: Tracking | None = None,
    folder: Path | None = None,
) -> ParsedRecipe:
    """Return a recipe as `titrant.read` gives one, of sections that `titrant.sections` builds.

    What is None is left out, and has its default. Paths in it start in `folder`, the current one where it is None, and
    so do modules that it names. Raises RecipeError with everything that its text would be refused for, each with its
    path in place of a line.
    """
    given = {
        "name": name,
        "description": description,
        "level": level,
        "preserve": preserve,
        "task": task,
        "seed": seed,
        "reproducibility": reproducibility,
        "model": model,
        "data": data,
        "target": target,
        "train": train,
        "reduction": reduction,
        "quantization": quantization,
        "search": search,
        "memory": memory,
        "batching": batching,
        "export": export,
        "validation": validation,
        "profile": profile,
        "inspect": inspect,
        "report": report,
        "tracking": tracking,
    }
    given = {key: value for key, value in given.items() if value is not None}
    text = dump({"titrant": LANGUAGE, **as_written(Recipe, given)})
    try:
        return parse(text, UNWRITTEN, folder=folder or Path())
    except RecipeError as error:
        raise RecipeError(*map(by_path, error.diagnostics)) from None

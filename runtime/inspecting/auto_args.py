"""Fill the model arguments that are left to the data: features, classes and vocabulary."""

import math
from collections.abc import Mapping
from typing import Any

from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import DataFacts

AUTO = ("features", "classes", "vocabulary")


def resolve_args(args: Mapping[str, Any], data: DataFacts) -> dict[str, Any]:
    """Replace each `auto`: features by how many numbers a case has, classes by how many there are.

    Raises RecipeError X126 where the data does not say.
    """
    return {name: _from_data(name, data) if value == "auto" and name in AUTO else value for name, value in args.items()}


def _from_data(name: str, data: DataFacts) -> int:
    if name == "features" and len(data.inputs) == 1:
        return math.prod(int(size) for size in data.inputs[0].shape[1:])
    if name == "classes" and data.classes:
        return len(data.classes)
    missing = {"features": f"{len(data.inputs)} inputs", "classes": "no labels"}.get(name, "no tokens")
    raise RecipeError(
        Diagnostic("X126", f"model.args.{name} is auto, and the data has {missing}", help=f"write {name} as a number")
    )

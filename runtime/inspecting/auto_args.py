"""Fill the model arguments that are left to the data: features, classes and vocabulary."""

from collections.abc import Mapping
from typing import Any

from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import DataFacts, TensorSpec

AUTO = ("features", "classes", "vocabulary")


def resolve_args(args: Mapping[str, Any], data: DataFacts) -> dict[str, Any]:
    """Replace each `auto`: features by the width of the first input, classes by their number.

    An image's features are its channels. Raises RecipeError X126 where the data does not say.
    """
    return {name: _from_data(name, data) if value == "auto" and name in AUTO else value for name, value in args.items()}


def _from_data(name: str, data: DataFacts) -> int:
    if name == "features" and data.inputs:
        return _width(data.inputs[0])
    if name == "classes" and data.classes:
        return len(data.classes)
    missing = {"features": "no inputs", "classes": "no labels"}.get(name, "no tokens")
    raise RecipeError(
        Diagnostic("X126", f"model.args.{name} is auto, and the data has {missing}", help=f"write {name} as a number")
    )


def _width(spec: TensorSpec) -> int:
    return int(spec.shape[1]) if len(spec.shape) > 1 else 1

"""What is known of the model and the data that a starter recipe is written for."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.frozen import dataclass


@dataclass(frozen=True)
class Starter:
    """What is known: the model as the recipe names it, and what the child process answered (see `describe_starter`)."""

    model: str
    onnx: Mapping[str, Any] | None
    arguments: Sequence[Mapping[str, Any]] | None
    args: Mapping[str, Any]
    weights: str | None
    inputs: Sequence[Mapping[str, Any]] | None
    source: tuple[str, str] | None
    data: Mapping[str, Any] | None


def trains(starter: Starter) -> bool:
    """Whether the recipe fits the model: a factory without weights, and rows with a label."""
    return starter.onnx is None and starter.weights is None and bool(starter.data and starter.data["label"])


def refuse(message: str, advice: str) -> NoReturn:
    """Raise RecipeError P081: model or data cannot make a recipe."""
    raise RecipeError(Diagnostic("P081", message, help=advice))

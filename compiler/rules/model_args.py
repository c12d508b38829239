"""What `auto` means among the arguments of a model's factory."""

import math
from typing import Any

from titrant.compiler.rules.question import Answer, Question, decision
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.plan import Decision


def model_args(question: Question) -> Answer:
    """Resolve `features` and `classes` from the data as it is after the transforms."""
    args: dict[str, Any] = dict(question.recipe.model.args)
    lines: list[Decision] = []
    for name in ("features", "classes"):
        if args.get(name) == "auto":
            args[name], because = _features(question) if name == "features" else _classes(question)
            lines.append(
                decision(
                    question,
                    f"model.args.{name}",
                    f"model_args.{name}",
                    asked="auto",
                    chosen=str(args[name]),
                    because=because,
                    path=("model", "args", name),
                )
            )
    return Answer(args, tuple(lines))


def _classes(question: Question) -> tuple[int, str]:
    classes = question.data.classes
    if not classes:
        raise _unknown(question, "classes", "the data has no labels")
    return len(classes), f"the label has the values {_some(classes)}"


def _features(question: Question) -> tuple[int, str]:
    inputs = question.data.inputs
    if len(inputs) != 1:
        raise _unknown(question, "features", f"the data gives {len(inputs)} inputs and not one")
    sizes = [size for size in inputs[0].shape[1:] if isinstance(size, int)]
    shape = " × ".join(map(str, sizes))
    return math.prod(sizes), f"a case has {shape} numbers after the transforms"


def _unknown(question: Question, name: str, reason: str) -> RecipeError:
    where = question.bound.parsed.source.place(("model", "args", name), "value")
    return RecipeError(Diagnostic("R136", f"`{name}: auto` cannot be resolved: {reason}", where, "write the number"))


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} … ({len(names)})"

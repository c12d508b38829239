"""What inspection settled between model and data: what each input is made of, and which output is which class."""

from collections.abc import Sequence

from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.schema.facts import InputPart, TensorSpec
from titrant.schema.plan import Decision
from titrant.schema.recipe.data import Data

_SHOWN = 6  # columns that a line lists


def inputs(question: Question) -> RuleAnswer:
    """Show the mapping of columns and arrays to the model's inputs; settled is nothing, it stands in the data's facts.

    A model whose one input takes all under the data's own name is not spoken of.
    """
    specs = {spec.name: spec for spec in question.data.inputs}
    lines = [_line(question, item, specs[item.name]) for item in question.data.wiring]
    return RuleAnswer(None, tuple(lines))


def classes(question: Question) -> RuleAnswer:
    """Say which classes there are where the model has more outputs than the label has values."""
    values = question.data.class_values
    if not values:
        return RuleAnswer(None)
    shown = sum(
        1 for name in question.data.classes if any(role.classes.get(name) for role in question.data.roles.values())
    )
    line = decision(
        question,
        "data.classes",
        "classes.places",
        asked="not written",
        chosen=f"{values[0]} to {values[-1]}, the places of the model's {len(values):,} outputs",
        because=f"the label's whole numbers are {shown:,} of these places",
    )
    return RuleAnswer(None, (line,))


def _line(question: Question, item: InputPart, spec: TensorSpec) -> Decision:
    if item.value is not None:
        return decision(
            question,
            f"input {item.name}",
            "inputs.value",
            asked="model.inputs",
            chosen=f"{item.value} as {spec.dtype} in every batch",
            because="the recipe says so",
            path=("model", "inputs"),
        )
    data = question.recipe.data if question.recipe.data is not None else Data.model_validate({})
    written = not isinstance(data.inputs, Sequence) and data.inputs is not None
    because = "the recipe says so"
    if not written:
        lone = len(question.data.wiring) == 1
        because = "the model has one input" if lone else "the model and the data call it so"
    shape = ", ".join(map(str, spec.shape))
    return decision(
        question,
        f"input {item.name}",
        "inputs.written" if written else "inputs.named",
        asked="data.inputs" if written else "not written",
        chosen=f"{_words(item.part)} as {spec.dtype} ({shape})",
        because=because,
        path=("data", "inputs", item.name) if written else (),
    )


def _words(part: str | Sequence[str]) -> str:
    if isinstance(part, str):
        return part
    more = f" and {len(part) - _SHOWN} more" if len(part) > _SHOWN else ""
    columns = "the column" if len(part) == 1 else f"{len(part)} columns,"
    return f"{columns} {', '.join(part[:_SHOWN])}{more}"

"""What inspection settled between model and data: what an input is made of, which output a class is, and the steps."""

from collections.abc import Iterator, Sequence

from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.schema.facts import InputPart, RecurrentState, TensorSpec
from titrant.schema.plan import Decision
from titrant.schema.recipe.data import Data
from titrant.schema.recurrent import steps_of

_SHOWN = 6  # columns that a line lists
_STATE = ("model", "state")


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
    return decision(
        question,
        f"input {item.name}",
        "inputs.written" if written else "inputs.named",
        asked="data.inputs" if written else "not written",
        chosen=f"{_words(item.part)} as {spec.dtype} {_shape(spec)}",
        because=because,
        path=("data", "inputs", item.name) if written else (),
    )


def _words(part: str | Sequence[str]) -> str:
    if isinstance(part, str):
        return part
    more = f" and {len(part) - _SHOWN} more" if len(part) > _SHOWN else ""
    columns = "the column" if len(part) == 1 else f"{len(part)} columns,"
    return f"{columns} {', '.join(part[:_SHOWN])}{more}"


def state(question: Question) -> RuleAnswer:
    """Show the state, the steps and the answer of a case; settled is nothing, it stands in the model's facts."""
    recurrent = question.model.state
    return RuleAnswer(None) if recurrent is None else RuleAnswer(None, tuple(_state_lines(question, recurrent)))


def _state_lines(question: Question, recurrent: RecurrentState) -> Iterator[Decision]:
    for (output, target), spec in zip(recurrent.feeds, recurrent.zeros, strict=True):
        yield decision(
            question,
            f"state {target}",
            "state.fed",
            asked=f"{output} → {target}",
            chosen=f"zeros {_shape(spec)} at the start of each case, then {output} of the step before",
            because="no state passes from one case to another",
            path=_STATE,
        )
    yield decision(
        question,
        "steps",
        "state.steps",
        asked="",
        chosen=f"{recurrent.steps:,} a case, of {_step_sizes(question)}",
        because="the data hold as many, and the model takes one at a time",
        path=_STATE,
    )
    last = recurrent.answer == "last"
    yield decision(
        question,
        "answer of a case",
        "state.answer",
        asked="",
        chosen="that of its last step" if last else "those of all its steps",
        because="a case has one label" if last else "what has no label is compared at every step",
        path=_STATE,
    )
    yield decision(
        question,
        "timed",
        "state.timed",
        asked="",
        chosen="one step",
        because="a stream is answered step by step: latency and throughput are those of a step, not of a case",
        path=_STATE,
    )


def _step_sizes(question: Question) -> str:
    """Write one step of every input that has steps."""
    given = {spec.name: spec for spec in question.data.inputs}
    specs = [
        spec
        for spec in question.model.inputs
        if spec.name in given and (steps := steps_of(spec.shape, given[spec.name].shape)) is not None and steps.count
    ]
    return ", ".join(f"{spec.name} {_shape(spec)}" for spec in specs)


def _shape(spec: TensorSpec) -> str:
    return f"({', '.join(map(str, spec.shape))})"

"""What inspection settled: what an input is made of, which output a class is, steps, subgroups, transforms' figures."""

from collections.abc import Iterator, Mapping, Sequence

from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.schema.facts import InputPart, RecurrentState, RoleFacts, TensorSpec, TransformFacts
from titrant.schema.plan import Decision
from titrant.schema.recipe.data import ROLES, Data
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.recurrent import steps_of
from titrant.schema.values.units import few, is_small

_SHOWN = 6  # columns that a line lists
# What a recipe can write in place of fitting.
FIGURES = {"standardize": "{mean, std}", "impute": "{values}", "one_hot": "{values}"}
_STATE = ("model", "state")
_JUDGED = ROLES[-1]


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


def subgroups(question: Question) -> RuleAnswer:
    """Show the values that were found; settled is nothing, they stand in the data's facts.

    A count of fewer than `report.min_cell` cases is not shown, nor the next smallest, which would give it away.
    """
    data, judged = question.recipe.data, question.data.roles.get(_JUDGED)
    if data is None or judged is None:
        return RuleAnswer(None)
    listed = {name: group for name, group in data.subgroups.items() if group.bins is None and group.values is None}
    lines = [
        decision(
            question,
            f"data.subgroups.{name}",
            "subgroups.found",
            asked=f"{group.column}",
            chosen=_counted_words(_counts(judged, name), question.recipe.report.min_cell),
            because=f"these values stand in `{group.column}`; counted are evaluation cases",
            path=("data", "subgroups", name),
        )
        for name, group in listed.items()
    ]
    return RuleAnswer(None, tuple(lines))


def _counts(judged: RoleFacts, name: str) -> Mapping[str, int]:
    return judged.subgroup_units.get(name) or judged.subgroups.get(name, {})


def _counted_words(counts: Mapping[str, int], least: int) -> str:
    small = [value for value, count in counts.items() if is_small(count, least)]
    rest = [value for value in counts if value not in small]
    beside = min(rest, key=lambda value: counts[value], default="") if len(small) == 1 else ""
    return ", ".join(
        f"{value} {few(least)}" if value in small else value if value == beside else f"{value} {count:,}"
        for value, count in counts.items()
    )


def transforms(question: Question) -> RuleAnswer:
    """Show what was fitted on which rows, what was given, and what was loaded; nothing is settled by it.

    Of a model that was trained elsewhere its transforms were fitted elsewhere too: fitting them here is another
    preparation than it was trained with, and is said to be.
    """
    facts = question.data.transforms
    loaded = [item for item in facts if item.origin == "loaded"]
    lines = [_loaded(question, loaded)] if loaded else []
    lines += [
        _transform_line(question, place, item) for place, item in enumerate(facts) if item.origin in ("fitted", "given")
    ]
    unlisted = tuple(
        f"{count:,} of {question.data.rows:,} rows have a value of `{name}` for which `one_hot` has no column: "
        "they get zeros, as a value that the training did not know"
        for item in facts
        if item.origin in ("given", "loaded")
        for name, count in item.unlisted.items()
    )
    return RuleAnswer(None, tuple(lines), unlisted)


def trained_here(recipe: Recipe) -> bool:
    """Whether the model learns from these rows, and not only its transforms do."""
    return recipe.model.factory is not None and recipe.model.weights is None and recipe.train is not None


def _transform_line(question: Question, place: int, item: TransformFacts) -> Decision:
    path = ("data", "transform", place)
    if item.origin == "given":
        chosen, because = f"{_columns(item)} as given", "the recipe has the figures of the training"
        rule, asked = "transforms.given", "written"
    else:
        chosen, rule, asked = f"fitted on the {item.rows:,} {item.role} rows", "transforms.fitted", "not given"
        because = "the model is trained on them"
        if not trained_here(question.recipe):
            because = (
                f"not where the model was trained: write {FIGURES[item.name]} of its training, or data.transform_from"
            )
    if item.values:
        chosen += f", {'; '.join(f'{name}: {_some(values)}' for name, values in item.values.items())}"
    return decision(question, item.name, rule, asked=asked, chosen=chosen, because=because, path=path)


def _loaded(question: Question, items: list[TransformFacts]) -> Decision:
    file = question.recipe.data.transform_from if question.recipe.data is not None else None
    names = ", ".join(item.name for item in items)
    return decision(
        question,
        "data.transform",
        "transforms.loaded",
        asked=str(file),
        chosen=f"{names} of {file}",
        because="they were fitted elsewhere, and nothing is fitted here",
        path=("data", "transform_from"),
    )


def _columns(item: TransformFacts) -> str:
    return _some(item.columns)


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

"""What inspection settled: weights, arguments, what an input is made of, classes, steps, subgroups, transforms."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import InputPart, LoadedWeights, RecurrentState, RoleFacts, TensorSpec, TransformFacts
from titrant.schema.plan import Decision, Rejected
from titrant.schema.recipe.data import LEAST_OF_A_STRATUM, ROLES, STRATA, Data
from titrant.schema.recipe.model import WeightsFile
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.recurrent import steps_of
from titrant.schema.values.units import few, is_small

_SHOWN = 6  # columns that a line lists
_KEYS_SHOWN = 4  # keys of a file that a line lists
# What a recipe can write in place of fitting.
FIGURES = {"standardize": "{mean, std}", "impute": "{values}", "one_hot": "{values}", "tokenize": "{tokenizer: path}"}
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
    if data.strata is not None:
        lines.append(_strata(question, data.strata, _counts(judged, STRATA)))
    return RuleAnswer(None, tuple(lines))


def _strata(question: Question, column: str, counts: Mapping[str, int]) -> Decision:
    """Say which strata there are, and which are judged together because they have too few cases."""
    small = [value for value, count in counts.items() if count < LEAST_OF_A_STRATUM]
    together = f"; {', '.join(small)} together, under {LEAST_OF_A_STRATUM} cases each" if small else ""
    chosen = f"tests stratified by {_counted_words(counts, question.recipe.report.min_cell)}{together}"
    because = f"these values stand in `{column}`; counted are evaluation cases"
    return decision(
        question, "data.strata", "strata.found", asked=column, chosen=chosen, because=because, path=("data", "strata")
    )


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
    own = ("fitted", "given", "kept")
    lines += [_transform_line(question, place, item) for place, item in enumerate(facts) if item.origin in own]
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
    if item.origin == "kept":
        chosen, rule, asked = f"gaps of {_columns(item)} stay gaps", "transforms.kept", "written"
        because = "the recipe says that the model was trained on them"
    elif item.origin == "given":
        chosen, because = f"{_columns(item)} as given", "the recipe has the figures of the training"
        if item.vocabulary:
            because = f"the recipe names a tokenizer, of {item.vocabulary:,} tokens"
        rule, asked = "transforms.given", "written"
    else:
        chosen, rule, asked = f"fitted on the {item.rows:,} {item.role} rows", "transforms.fitted", "not given"
        because = "the model is trained on them"
        if not trained_here(question.recipe):
            because = (
                f"not where the model was trained: write {FIGURES[item.name]} of its training, or data.transform_from"
            )
    if item.vocabulary and item.origin == "fitted":
        chosen += f", {item.vocabulary:,} tokens: their characters, padding, and one for all others"
    if item.values:
        chosen += f", {'; '.join(f'{name}: {_some(values)}' for name, values in item.values.items())}"
    return decision(question, item.name, rule, asked=asked, chosen=chosen, because=because, path=path)


def _loaded(question: Question, items: list[TransformFacts]) -> Decision:
    file = question.recipe.data.transform_from if question.recipe.data is not None else None
    chosen = f"{', '.join(item.name for item in items)} of {file}"
    because, path = "they were fitted elsewhere, and nothing is fitted here", ("data", "transform_from")
    return decision(
        question, "data.transform", "transforms.loaded", asked=str(file), chosen=chosen, because=because, path=path
    )


def _columns(item: TransformFacts) -> str:
    return _some(item.columns)


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def model_args(question: Question) -> RuleAnswer:
    """Resolve `features`, `classes` and `vocabulary` from the data as it is after the transforms."""
    args: dict[str, Any] = dict(question.recipe.model.args)
    lines: list[Decision] = []
    for name, resolve in (("features", _features), ("classes", _classes), ("vocabulary", _vocabulary)):
        if args.get(name) == "auto":
            args[name], because = resolve(question)
            subject, rule, path = f"model.args.{name}", f"model_args.{name}", ("model", "args", name)
            chosen = str(args[name])
            lines.append(decision(question, subject, rule, asked="auto", chosen=chosen, because=because, path=path))
    return RuleAnswer(args, tuple(lines))


def _classes(question: Question) -> tuple[int, str]:
    classes = question.data.classes
    if not classes:
        raise _unknown(question, "classes", "the data has no labels")
    return len(classes), f"the label has the values {_values(classes)}"


def _values(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} … ({len(names)})"


def _features(question: Question) -> tuple[int, str]:
    inputs = question.data.inputs
    if len(inputs) != 1:
        raise _unknown(question, "features", f"the data gives {len(inputs)} inputs and not one")
    sizes = [size for size in inputs[0].shape[1:] if isinstance(size, int)]
    shape = " × ".join(map(str, sizes))
    return math.prod(sizes), f"a case has {shape} numbers after the transforms"


def _vocabulary(question: Question) -> tuple[int, str]:
    count = max((item.vocabulary for item in question.data.transforms), default=0)
    if not count:
        raise _unknown(question, "vocabulary", "no `tokenize` of these transforms says how many tokens there are")
    return count, "so many tokens has the tokenizer"


def _unknown(question: Question, name: str, reason: str) -> RecipeError:
    where = question.bound.parsed.source.place(("model", "args", name), "value")
    return RecipeError(Diagnostic("R136", f"`{name}: auto` cannot be resolved: {reason}", where, "write the number"))


def weights(question: Question) -> RuleAnswer:
    """Show how the file fits; a state dict of the model's own names and types needs no line. Settles nothing."""
    loaded = question.model.weights
    return RuleAnswer(None) if loaded is None else RuleAnswer(None, tuple(_lines(question, loaded)))


def _lines(question: Question, loaded: LoadedWeights) -> Iterator[Decision]:
    fits = f"names and shapes fit: {_tensors(loaded.tensors)}, {loaded.elements:,} numbers"
    written = question.recipe.model.weights
    said = written if isinstance(written, WeightsFile) else None
    left = tuple(Rejected(name, f"{_tensors(count)} left out") for name, count in loaded.left_out[:_KEYS_SHOWN])
    if loaded.key or loaded.left_out or (said is not None and said.key is not None):
        under = f"those under `{loaded.key}`" if loaded.key else "those at the top"
        asked = "" if said is None or said.key is None else f"key {said.key!r}"
        because = fits if asked == "" else f"the recipe says so; {fits}"
        yield _weights_detail(
            question, "weights key", "key", f"{under} of {loaded.file}", because, asked=asked, rejected=left
        )
    if loaded.prefix:
        asked = "" if said is None or said.prefix is None else f"prefix {said.prefix!r}"
        chosen = f"`{loaded.prefix}` is removed from {_names(loaded.tensors)}"
        yield _weights_detail(
            question, "weights prefix", "prefix", chosen, "the model's names begin after it", asked=asked
        )
    if loaded.added:
        chosen = f"`{loaded.added}` is put before {_names(loaded.tensors)}"
        yield _weights_detail(question, "weights prefix", "added", chosen, "the model has it before all of its names")
    if loaded.wrappers:
        parts = ", ".join(f"`{part}`" for part in loaded.wrappers)
        because = "torch.compile, FSDP or activation checkpointing put them there"
        yield _weights_detail(question, "weights names", "wrappers", f"{parts} are dropped from names", because)
    for old, new, count in loaded.casts:
        because = "the factory builds the model so"
        yield _weights_detail(question, "weights type", "type", f"{old} → {new}, {_tensors(count)}", because)
    yield from _beside(question, loaded)


def _beside(question: Question, loaded: LoadedWeights) -> Iterator[Decision]:
    """Say what is not read, and what the file does not have."""
    if loaded.others:
        more = f" and {len(loaded.others) - _KEYS_SHOWN} more" if len(loaded.others) > _KEYS_SHOWN else ""
        names = ", ".join(loaded.others[:_KEYS_SHOWN]) + more
        yield _weights_detail(
            question, "weights beside", "beside", f"not read: {names}", "they are no tensors of the model"
        )
    if loaded.shards:
        because = f"{loaded.file} names them, and all are there"
        yield _weights_detail(question, "weights shards", "shards", f"{loaded.shards} files as one", because)
    if loaded.counters:
        chosen = f"{loaded.counters:,} batch counters start at 0"
        yield _weights_detail(
            question, "weights counters", "counters", chosen, f"{loaded.file} lacks them; no answer reads them"
        )
    if loaded.tied:
        chosen = f"{_tensors(loaded.tied)} held once"
        yield _weights_detail(
            question, "weights tied", "tied", chosen, "the model ties them to others that the file has"
        )
    if not loaded.values_read:
        chosen = "names and shapes compared so far"
        yield _weights_detail(
            question, "weights values", "values", chosen, "a large file: its values are read when it is loaded"
        )


def _weights_detail(
    question: Question,
    subject: str,
    rule: str,
    chosen: str,
    because: str,
    *,
    asked: str = "",
    rejected: tuple[Rejected, ...] = (),
) -> Decision:
    path, name = ("model", "weights"), f"weights.{rule}"
    return decision(question, subject, name, asked=asked, chosen=chosen, because=because, path=path, rejected=rejected)


def _tensors(count: int) -> str:
    return f"{count:,} tensor" + ("" if count == 1 else "s")


def _names(count: int) -> str:
    return f"{count:,} name" + ("" if count == 1 else "s")

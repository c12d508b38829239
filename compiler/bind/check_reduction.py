"""Check the parts of `reduction`: each is an operator and takes its options, and distillation has who teaches."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from titrant.compiler.bind.bound_recipe import CheckInput, Finding, meant
from titrant.runtime import catalog
from titrant.runtime.catalog import Declaration
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.model import MODEL_SOURCES, Model
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import covers_module

# A part of the section → the family of its operators.
FAMILIES: Mapping[str, str] = {"pruning": "prune", "factorize": "factorize"}
AUTO = "auto"
# The operator that masks by magnitude while it trains, which `schedule: gradual` asks for, and the methods it is for.
GRADUAL = "prune.gradual"
_RISING = (AUTO, "magnitude")
# Keys that are no options of an operator.
_BESIDE = {"method", "schedule", "validate_with"}
_LATER = "take it out: a later version brings it"


@dataclass(frozen=True)
class ReductionPart:
    """One part of the section as it is written: its key, the method that it names, and the operator's options."""

    key: str
    method: str
    options: Mapping[str, Any]
    gradual: bool = False  # by a schedule, while the network is trained

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators that the method may mean, from gentle to aggressive; none where this version has none."""
        there = catalog.reductions(FAMILIES[self.key])
        if self.gradual:
            return (GRADUAL,)
        named = f"{FAMILIES[self.key]}.{self.method.replace('.', '_')}"
        return there if self.method == AUTO else tuple(name for name in there if name == named)


def reduction_parts(recipe: Recipe) -> tuple[ReductionPart, ...]:
    """Return the parts that are asked for, in the order in which they are applied."""
    if recipe.reduction is None:
        return ()
    parts = []
    for key in FAMILIES:
        section = getattr(recipe.reduction, key)
        if section is not None:
            names = section.model_fields_set - _BESIDE
            options = {name: getattr(section, name) for name in sorted(names) if getattr(section, name) != AUTO}
            options = {name: value for name, value in options.items() if value is not None}
            gradual = getattr(section, "schedule", "") == "gradual"
            parts.append(ReductionPart(key, section.method, options, gradual))
    return tuple(parts)


def reduces(recipe: Recipe) -> bool:
    """Whether the recipe makes the network itself smaller, or another one of it."""
    return recipe.reduction is not None and (bool(reduction_parts(recipe)) or recipe.reduction.distillation is not None)


def other_models(recipe: Recipe) -> dict[str, Model]:
    """Return the models beside the original that distillation names: `student`, `teacher`."""
    taught = None if recipe.reduction is None else recipe.reduction.distillation
    named = {} if taught is None else {"student": taught.student, "teacher": taught.teacher}
    return {key: model for key, model in named.items() if isinstance(model, Model)}


def reductions_fit(given: CheckInput) -> Iterator[Finding]:
    """Refuse parts of the section that this version has no operator for, and options that an operator does not take."""
    for part in reduction_parts(given.recipe):
        path: KeyPath = ("reduction", part.key)
        if part.gradual:
            yield from _can_rise(given, part, path)
        if {"blocks", "sparsity"} <= set(part.options):
            message = "`blocks` and `sparsity` would each say how much is removed"
            yield given.finding("R021", (*path, "sparsity"), message, "keep one of the two")
        if not part.operators:
            at = (*path, "method") if given.written(*path, "method") else path
            there = [name.partition(".")[2] for name in catalog.reductions(FAMILIES[part.key]) if name != GRADUAL]
            names = (*((AUTO,) if part.key == "pruning" else ()), *there)
            advice = f"this version has {', '.join(f'`{name}`' for name in names)}" if there else _LATER
            message = f"`reduction.{part.key}.method: {part.method}` is not available in this version"
            yield given.finding("R101", at, message, advice)
        elif len(part.operators) == 1 and (not part.gradual or part.method in _RISING):
            operator = catalog.get(part.operators[0])
            keys = type(getattr(given.recipe.reduction, part.key)).model_fields
            yield from option_findings(given, operator, part.options, path, operator.name, keys=keys)


def _can_rise(given: CheckInput, part: ReductionPart, path: KeyPath) -> Iterator[Finding]:
    """Refuse a schedule for what does not mask by magnitude, or without training."""
    at = (*path, "schedule")
    if part.method not in _RISING:
        message = f"`schedule: gradual` masks by magnitude, and the method is {part.method}"
        yield given.finding("R186", at, message, "write method: magnitude, or leave the schedule out")
    if given.recipe.train is None:
        message = "`schedule: gradual` masks while the network is trained, and the recipe has no `train` section"
        yield given.finding("R187", at, message, "add a `train` section, or leave the schedule out")


def option_findings(
    given: CheckInput,
    declaration: Declaration,
    options: Mapping[str, Any],
    path: KeyPath,
    name: str,
    *,
    keys: Collection[str] | None = None,
) -> Iterator[Finding]:
    """Validate options against an operator's parameters; each error stands under its own option below `path`.

    `keys` are those that can be written there, None for every parameter.
    """
    from pydantic import ValidationError

    from titrant.schema.values.canonical import canonical_json

    fields = declaration.params.model_fields
    try:
        declaration.params.model_validate_json(canonical_json(dict(options)))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            option = str(detail["loc"][0]) if detail["loc"] else ""
            if detail["type"] == "extra_forbidden":
                offered = [field for field in fields if keys is None or field in keys]
                advice = meant(option, offered, "its options are")
                yield given.finding("R107", (*path, option), f"`{name}` has no option `{option}`", advice, part="key")
            else:
                described = fields[option].description if option in fields else ""
                text = str(detail["ctx"]["error"] if detail["type"] == "value_error" else detail["msg"])
                message = f"`{option}`: {text[:1].lower()}{text[1:]}"
                yield given.finding("R107", (*path, option), message, described or "")


_DISTILLATION: KeyPath = ("reduction", "distillation")
# Keys of a model that say what the data and the outputs are: those of the original hold for a student and a teacher.
_SHARED = ("inputs", "output", "state")
# What holds a model of which no torch module is built.
_FILES = ("onnx", "torchscript", "exported")


def distillation_fits(given: CheckInput) -> Iterator[Finding]:
    """Refuse distillation that nothing trains, that has no student or two, and models that no factory builds."""
    recipe = given.recipe
    taught = None if recipe.reduction is None else recipe.reduction.distillation
    if taught is None:
        return
    given_as = next((name for name in _FILES if getattr(recipe.model, name) is not None), "")
    if given_as:
        message = f"what teaches and what learns are torch modules, and the original is a file (`{given_as}`)"
        yield given.finding("R188", _DISTILLATION, message, "build the model with `factory`", part="key")
    elif recipe.train is None:
        message = "distillation trains the student, and the recipe does not say how"
        yield given.finding("R189", _DISTILLATION, message, "add `train: {epochs: 20}`", part="key")
    parts = reduction_parts(recipe)
    if taught.student is not None and parts:
        named = " and ".join(f"`{part.key}`" for part in parts)
        message = f"the student takes the place of the original, so that {named} would be for nothing"
        yield given.finding("R188", (*_DISTILLATION, "student"), message, f"take `student` out, or {named}", part="key")
    if taught.student is None and not parts:
        message = "the student would be the original itself: nothing makes it smaller, and no `student` is named"
        yield given.finding(
            "R188", _DISTILLATION, message, "name a `student`, or add `pruning` or `factorize`", part="key"
        )
    if taught.student is not None:
        yield from _factory_alone(given, taught.student, "student")
    if isinstance(taught.teacher, Model):
        yield from _factory_alone(given, taught.teacher, "teacher")
        if taught.teacher.weights is None:
            message = "a teacher without weights has learned nothing"
            advice = "add `weights: teacher.safetensors`, or `weights: included` where its factory loads them"
            yield given.finding("R188", (*_DISTILLATION, "teacher"), message, advice, part="key")


def _factory_alone(given: CheckInput, model: Model, key: str) -> Iterator[Finding]:
    path: KeyPath = (*_DISTILLATION, key)
    source = next((name for name in MODEL_SOURCES if name != "factory" and getattr(model, name) is not None), "")
    if model.factory is None or source:
        at = (*path, source) if source else path
        advice = f"name the factory that builds it: `{key}: {{factory: nets:Small}}`"
        yield given.finding("R188", at, f"a {key} is a torch module that a factory builds", advice, part="key")
    for name in _SHARED:
        if getattr(model, name) is not None:
            message = f"a {key} takes and gives what the original does"
            yield given.finding("R188", (*path, name), message, "take it out", part="key")


def imitated_layers_exist(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse a pattern of layers to imitate that names no module of the original, where that is the teacher."""
    reduction = given.recipe.reduction
    taught = None if reduction is None else reduction.distillation
    if taught is None or isinstance(taught.teacher, Model) or taught.student is not None:
        return
    parts = [layer.name.split(".") for layer in model.layers]
    modules = {".".join(part[:count]): None for part in parts for count in range(1, len(part) + 1)}
    for place, pattern in enumerate(taught.layers):
        if not any(covers_module(pattern, name) for name in modules):
            message = f"`{pattern}` names none of the model's {len(modules)} modules"
            yield given.finding("R139", (*_DISTILLATION, "layers", place), message, meant(pattern, modules, "they are"))

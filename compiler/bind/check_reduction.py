"""Check the parts of `reduction`: each is an operator of the catalog, and takes the options that stand beside it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from titrant.compiler.bind.bound_recipe import CheckInput, Finding, meant
from titrant.runtime import catalog
from titrant.runtime.catalog import Declaration
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.model import Model
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.values.frozen import dataclass

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

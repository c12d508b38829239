"""Check `reduction.distillation`: what learns from whom, and whether there is anything to learn."""

from collections.abc import Iterator

from titrant.compiler.bind.bound_recipe import CheckInput, Finding, meant
from titrant.compiler.bind.check_reduction import reduction_parts
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.model import MODEL_SOURCES, Model
from titrant.schema.values.text import covers_module

_PATH: KeyPath = ("reduction", "distillation")
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
        yield given.finding("R188", _PATH, message, "build the model with `factory`", part="key")
    elif recipe.train is None:
        message = "distillation trains the student, and the recipe does not say how"
        yield given.finding("R189", _PATH, message, "add `train: {epochs: 20}`", part="key")
    parts = reduction_parts(recipe)
    if taught.student is not None and parts:
        named = " and ".join(f"`{part.key}`" for part in parts)
        message = f"the student takes the place of the original, so that {named} would be for nothing"
        yield given.finding("R188", (*_PATH, "student"), message, f"take `student` out, or {named}", part="key")
    if taught.student is None and not parts:
        message = "the student would be the original itself: nothing makes it smaller, and no `student` is named"
        yield given.finding("R188", _PATH, message, "name a `student`, or add `pruning` or `factorize`", part="key")
    if taught.student is not None:
        yield from _factory_alone(given, taught.student, "student")
    if isinstance(taught.teacher, Model):
        yield from _factory_alone(given, taught.teacher, "teacher")
        if taught.teacher.weights is None:
            message = "a teacher without weights has learned nothing"
            advice = "add `weights: teacher.safetensors`, or `weights: included` where its factory loads them"
            yield given.finding("R188", (*_PATH, "teacher"), message, advice, part="key")


def _factory_alone(given: CheckInput, model: Model, key: str) -> Iterator[Finding]:
    path: KeyPath = (*_PATH, key)
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
            yield given.finding("R139", (*_PATH, "layers", place), message, meant(pattern, modules, "they are"))

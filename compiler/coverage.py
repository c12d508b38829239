"""Which layers each quantization method would touch, and why it leaves the others alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from titrant.compiler.bound import BoundRecipe
from titrant.compiler.checks.facts_layers import matches
from titrant.compiler.rules.methods import methods
from titrant.runtime import catalog
from titrant.runtime.catalog import Declaration
from titrant.schema.coverage import Coverage, LayerGroup
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Plan


def coverage(plan: Plan, bound: BoundRecipe, hardware: Hardware, model: ModelFacts) -> tuple[Coverage, ...]:
    """Say for every method that takes this kind of model what becomes of each layer with weights.

    A method takes a layer when its operator would take a model of that layer alone: its own `requires` is asked. What
    it says against the whole model, such as a library that is missing, counts against no layer.
    """
    asked = bound.recipe.quantization.method
    named = methods() if asked in ("auto", "none") or asked in methods() else (*methods(), asked)
    chosen = {candidate.method for candidate in plan.candidates}
    found = []
    for name in named:
        declaration = catalog.get(catalog.method_operator(name))
        method = declaration.method
        if method is None or (method.takes == "torch" and model.source == "onnx"):
            continue
        options = dict(bound.recipe.quantization.options) if asked == name else {}
        params = None if ":" in name else declaration.params.model_validate(options)

        def against(layer: Layer, declaration: Declaration = declaration, params: Any = params) -> str:
            return _against(declaration, params, hardware, model, layer)

        groups = tuple(_groups(model, bound, against))
        found.append(Coverage(name, name in chosen, groups))
    return tuple(found)


def _groups(model: ModelFacts, bound: BoundRecipe, against: Callable[[Layer], str]) -> Iterator[LayerGroup]:
    """Group layers of one type that share one fate, in the order of the model."""
    known: dict[tuple[str, int], str] = {}
    grouped: dict[tuple[str, str], list[Layer]] = {}
    for layer in model.layers:
        if not layer.weight_bytes:
            continue
        sort = (layer.type, len(layer.weight_shape))
        if sort not in known:
            known[sort] = against(layer)
        grouped.setdefault((layer.type, _pattern(layer.name, bound) or known[sort]), []).append(layer)
    for (layer_type, because), layers in grouped.items():
        names = tuple(layer.name for layer in layers)
        yield LayerGroup(layer_type, names, sum(layer.weight_bytes for layer in layers), because)


def _pattern(name: str, bound: BoundRecipe) -> str:
    """Say which of the recipe's patterns keeps a layer as it is."""
    section = bound.recipe.quantization
    skipping = next((pattern for pattern in section.skip if matches(name, pattern)), None)
    if skipping is not None:
        return f"quantization.skip has {skipping}"
    if section.only and not any(matches(name, pattern) for pattern in section.only):
        return "quantization.only does not name it"
    return ""


def _against(declaration: Declaration, params: Any, hardware: Hardware, model: ModelFacts, layer: Layer) -> str:
    """Return what the operator has against a layer; "" where it takes it."""
    if params is None:
        return "a user's operator does not say before it runs"
    general = declaration.requires(params, hardware, None)
    alone = declaration.requires(params, hardware, replace(model, layers=(layer,)))
    found = next((sentence for sentence in alone if sentence not in general), "")
    # "… quantizes linear layers only and the model has none: use ort.static" speaks of a whole model.
    told = found.partition(": ")[0].partition(" and the model has none")[0]
    return told.replace("the model has no", "it is no").removesuffix(" to quantize")

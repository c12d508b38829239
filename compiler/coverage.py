"""Which layers each quantization method would touch, and why it leaves the others alone."""

from collections.abc import Iterator

from titrant.compiler.bound import BoundRecipe
from titrant.compiler.layer_fate import fates
from titrant.compiler.rules.methods import methods
from titrant.runtime import catalog
from titrant.schema.coverage import Coverage, LayerGroup
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Plan


def coverage(plan: Plan, bound: BoundRecipe, hardware: Hardware, model: ModelFacts) -> tuple[Coverage, ...]:
    """Say for every method that takes this kind of model what becomes of each layer with weights.

    What a method has against a layer is what `titrant.compiler.layer_fate` says.
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
        params = declaration.params.model_validate(options)
        because = fates(declaration, params, hardware, model, bound.recipe.quantization)
        found.append(Coverage(name, name in chosen, tuple(_groups(model, because))))
    return tuple(found)


def _groups(model: ModelFacts, because: tuple[str, ...]) -> Iterator[LayerGroup]:
    """Group layers of one type that share one fate, in the order of the model."""
    grouped: dict[tuple[str, str], list[Layer]] = {}
    for layer, fate in zip(model.layers, because, strict=True):
        if layer.weight_bytes:
            grouped.setdefault((layer.type, fate), []).append(layer)
    for (layer_type, fate), layers in grouped.items():
        names = tuple(layer.name for layer in layers)
        yield LayerGroup(layer_type, names, sum(layer.weight_bytes for layer in layers), fate)

"""What becomes of each layer under a method: the recipe's patterns say so, then what the method takes."""

from collections.abc import Callable
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from titrant.compiler.checks.facts_layers import matches
from titrant.runtime.catalog import Declaration, no_requirement
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.recipe.quantization import Quantization

NO_WEIGHTS = "it has no weights"
UNREAD = "the forward pass does not read its weights: an exported file leaves them out"
UNSAID = "a user's operator that declares no `requires` does not say before it runs"
OWN = "what becomes of its own weights is known after export"
# All that an operator may look at in a layer but its name.
_kind = attrgetter(*(field.name for field in fields(Layer) if field.name != "name"))


def fates(
    declaration: Declaration, params: Any, hardware: Hardware, model: ModelFacts, quantization: Quantization
) -> tuple[str, ...]:
    """Say for each layer of a model, in order, why a method leaves it as it is; "" where the method takes it.

    A method takes the types of layers that it declares, in fp32; weights that a module of the user's own holds may be
    multiplied in the exported file, or not. One that declares none takes what its operator would take as a
    model of that layer alone: its own `requires` is asked, once for layers that differ in nothing but the name, and
    answers in its own words. What it says against any model, such as a library that is missing, is against no layer.
    """
    objection = _objection(declaration, params, hardware, model)
    known: dict[object, str] = {}
    found = []
    for layer in model.layers:
        because = left_out(layer.name, quantization) if layer.weight_bytes else NO_WEIGHTS
        because = because or (UNREAD if layer.unread else "")
        if not because:
            kind = _kind(layer)
            if kind not in known:
                known[kind] = objection(layer)
            because = known[kind]
        found.append(because)
    return tuple(found)


def left_out(name: str, quantization: Quantization) -> str:
    """Say which of the recipe's patterns keeps a layer as it is; "" where none does."""
    skipping = next((pattern for pattern in quantization.skip if matches(name, pattern)), None)
    if skipping is not None:
        return f"quantization.skip has {skipping}"
    if quantization.only and not any(matches(name, pattern) for pattern in quantization.only):
        return "quantization.only does not name it"
    return ""


def _objection(declaration: Declaration, params: Any, hardware: Hardware, model: ModelFacts) -> Callable[[Layer], str]:
    """Return what answers with a method's own objection to a layer, "" where it has none."""
    method = declaration.method
    if method is not None and method.layers:
        others = f"{method.name} quantizes {method.named or ', '.join(method.layers)} only"
        exported = method.takes == "onnx" and model.source != "onnx"

        def declared(layer: Layer) -> str:
            if layer.type in method.layers:
                fits = layer.dtype in ("", "float32")
                return "" if fits else f"its weights are {layer.dtype}, and {method.name} quantizes float32"
            return OWN if exported and layer.custom else others

        return declared
    if ":" in declaration.name and declaration.requires is no_requirement:
        return lambda _: UNSAID
    general = declaration.requires(params, hardware, None)

    def asked(layer: Layer) -> str:
        alone = declaration.requires(params, hardware, replace(model, layers=(layer,)))
        return next((sentence for sentence in alone if sentence not in general), "")

    return asked

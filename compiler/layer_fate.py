"""What becomes of one layer under a method: the recipe's patterns say so, then the method's own operator."""

from dataclasses import replace
from typing import Any

from titrant.compiler.checks.facts_layers import matches
from titrant.runtime.catalog import Declaration, no_requirement
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.recipe.quantization import Quantization


def left_out(name: str, quantization: Quantization) -> str:
    """Say which of the recipe's patterns keeps a layer as it is; "" where none does."""
    skipping = next((pattern for pattern in quantization.skip if matches(name, pattern)), None)
    if skipping is not None:
        return f"quantization.skip has {skipping}"
    if quantization.only and not any(matches(name, pattern) for pattern in quantization.only):
        return "quantization.only does not name it"
    return ""


def objection(declaration: Declaration, params: Any, hardware: Hardware, model: ModelFacts, layer: Layer) -> str:
    """Return what an operator has against a layer; "" where it takes it.

    A method takes a layer when its operator would take a model of that layer alone: its own `requires` is asked. What
    it says against the whole model, such as a library that is missing, counts against no layer.
    """
    if ":" in declaration.name and declaration.requires is no_requirement:
        return "a user's operator that declares no `requires` does not say before it runs"
    general = declaration.requires(params, hardware, None)
    alone = declaration.requires(params, hardware, replace(model, layers=(layer,)))
    found = next((sentence for sentence in alone if sentence not in general), "")
    # "… quantizes linear layers only and the model has none: use ort.static" speaks of a whole model.
    told = found.partition(": ")[0].partition(" and the model has none")[0]
    return told.replace("the model has no", "it is no").removesuffix(" to quantize")

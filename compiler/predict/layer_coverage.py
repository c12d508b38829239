"""Which layers each quantization method would change, why it leaves others alone, and which layers lose by it."""

import math
from collections.abc import Iterator, Mapping

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.bind.layers import RECURRENT, UNREAD, left_because
from titrant.compiler.decide.rule import Chain
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.catalog import quantization_methods
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Coverage, LayerGroup, Plan
from titrant.schema.recipe.reduce import Quantization
from titrant.schema.values.frozen import dataclass

# Below this a layer's scales and extra nodes weigh about what its int8 weights save (runtime/cost/sizes.py).
SMALL_WEIGHT_ELEMENTS = 1024
CONVOLUTIONS = ("Conv", "Conv1d", "Conv2d", "Conv3d")
BATCH_NORMS = ("BatchNormalization", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
EMBEDDINGS = ("Embedding", "EmbeddingBag", "Gather")
# Their results range too widely for one scale (Kim et al. 2021, I-BERT).
WIDE_RANGES: Mapping[str, str] = {
    "LayerNorm": "a layer norm", "RMSNorm": "a norm", "GroupNorm": "a norm", "LayerNormalization": "a layer norm",
    "InstanceNorm2d": "a norm", "Softmax": "a softmax",
}  # fmt: skip


@dataclass(frozen=True)
class LayerAdvice:
    """A layer, the methods that would quantize it, and warnings about it."""

    name: str
    type: str
    methods: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def advise(
    model: ModelFacts, hardware: Hardware, chains: tuple[Chain, ...], quantization: Quantization
) -> tuple[LayerAdvice, ...]:
    """Look at each layer of a model in order; `chains` are the quantizing candidates that the planner would make.

    `quantization` is the recipe's section, whose patterns leave layers out.
    """
    taken = [(chain.id, _left_because(chain, hardware, model, quantization)) for chain in chains]
    methods = [tuple(name for name, reasons in taken if not reasons[place]) for place in range(len(model.layers))]
    quantized = [place for place, names in enumerate(methods) if names and model.layers[place].type not in WIDE_RANGES]
    ends = {quantized[-1]: "last", quantized[0]: "first"} if quantized else {}
    advice = []
    for place, layer in enumerate(model.layers):
        before = model.layers[place - 1] if place else None
        warnings = tuple(_warnings(layer, before, methods[place], chains, ends.get(place, "")))
        advice.append(LayerAdvice(layer.name, layer.type, methods[place], warnings))
    return tuple(advice)


def _left_because(chain: Chain, hardware: Hardware, model: ModelFacts, quantization: Quantization) -> tuple[str, ...]:
    declared = catalog.get(catalog.method_operator(chain.method))
    return left_because(declared, declared.params.model_validate(dict(chain.options)), hardware, model, quantization)


def _warnings(
    layer: Layer, before: Layer | None, methods: tuple[str, ...], chains: tuple[Chain, ...], end: str
) -> Iterator[str]:
    elements = math.prod(layer.weight_shape) if layer.weight_shape else layer.parameters
    if layer.unread and layer.weight_bytes:
        yield UNREAD
        return
    if layer.custom and layer.weight_bytes:
        yield "a module of your own: what becomes of its own weights is known after export"
        return
    if layer.type in BATCH_NORMS:
        if before is None or before.type not in (*CONVOLUTIONS, "Linear", "Gemm", "MatMul"):
            yield "no convolution stands before it to fold it into: it stays in fp32"
        return
    if layer.type in WIDE_RANGES:
        if scaled := [chain.id for chain in chains if _scales_values(chain)]:
            yield f"{WIDE_RANGES[layer.type]}: its values range widely for the one scale that {', '.join(scaled)} has"
        else:
            yield f"{WIDE_RANGES[layer.type]} keeps fp32: its values range too widely for one scale"
        return
    if not layer.weight_bytes or not chains:
        return
    if not methods:
        yield _untouched(layer)
        return
    if layer.groups > 1 and layer.weight_shape[1:2] == (1,):
        yield "depthwise: few weights share a scale, so it loses more than other layers; leave per_channel on"
    if end:
        yield f"the {end} that is quantized: errors made here are seldom made up for"
    if elements < SMALL_WEIGHT_ELEMENTS:
        yield f"fewer than {SMALL_WEIGHT_ELEMENTS:,} weights: scales and nodes weigh about what int8 saves"


def _scales_values(chain: Chain) -> bool:
    """Tell whether a method gives the values between layers scales of their own, which calibration finds."""
    method = catalog.get(catalog.method_operator(chain.method)).method
    return method is not None and method.calibrated


def _untouched(layer: Layer) -> str:
    if layer.type in EMBEDDINGS:
        return "an embedding: looked up, not multiplied, so it stays in fp32"
    if layer.type in RECURRENT:
        return "a recurrent layer: no method of this version quantizes it"
    return "no method takes it: it stays in fp32"


def coverage(plan: Plan, bound: BoundRecipe, hardware: Hardware, model: ModelFacts) -> tuple[Coverage, ...]:
    """Say for every method that takes this kind of model what becomes of each layer with weights.

    What a method has against a layer is what `left_because` says.
    """
    asked = bound.recipe.quantization.method
    named = (
        quantization_methods()
        if asked in ("auto", "none") or asked in quantization_methods()
        else (*quantization_methods(), asked)
    )
    chosen = {candidate.method for candidate in plan.candidates}
    coverages = []
    for name in named:
        declaration = catalog.get(catalog.method_operator(name))
        method = declaration.method
        if method is None or backend.conversion(backend.kind_of_source(model.source).name, method.takes) is None:
            continue
        options = dict(bound.recipe.quantization.options) if asked == name else {}
        params = declaration.params.model_validate(options)
        because = left_because(declaration, params, hardware, model, bound.recipe.quantization)
        coverages.append(Coverage(name, name in chosen, tuple(_groups(model, because))))
    return tuple(coverages)


def _groups(model: ModelFacts, because: tuple[str, ...]) -> Iterator[LayerGroup]:
    """Group layers of one type that a method takes, or leaves for the same reason, in the order of the model."""
    grouped: dict[tuple[str, str], list[Layer]] = {}
    for layer, reasons in zip(model.layers, because, strict=True):
        if layer.weight_bytes:
            grouped.setdefault((layer.type, reasons), []).append(layer)
    for (layer_type, reasons), layers in grouped.items():
        names = tuple(layer.name for layer in layers)
        yield LayerGroup(layer_type, names, sum(layer.weight_bytes for layer in layers), reasons)

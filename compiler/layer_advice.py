"""What becomes of each layer under the methods that a level would use, and where one loses by it."""

import math
from collections.abc import Iterator, Mapping

from titrant.compiler.decisions import Chain
from titrant.compiler.layer_fate import UNREAD, fates
from titrant.runtime import catalog
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.frozen import dataclass
from titrant.schema.recipe.quantization import Quantization

# Below this a layer's scales and extra nodes weigh about what its int8 weights save (runtime/sizes.py).
SMALL_WEIGHT_ELEMENTS = 1024
CONVOLUTIONS = ("Conv", "Conv1d", "Conv2d", "Conv3d")
BATCH_NORMS = ("BatchNormalization", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
EMBEDDINGS = ("Embedding", "EmbeddingBag", "Gather")
# Their results range too widely for one scale (Kim et al. 2021, I-BERT).
WIDE_RANGES: Mapping[str, str] = {
    "LayerNorm": "a layer norm", "RMSNorm": "a norm", "GroupNorm": "a norm", "LayerNormalization": "a layer norm",
    "InstanceNorm2d": "a norm", "Softmax": "a softmax",
}  # fmt: skip
RECURRENT = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")


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
    taken = [(chain.id, _fates(chain, hardware, model, quantization)) for chain in chains]
    methods = [tuple(name for name, fate in taken if not fate[place]) for place in range(len(model.layers))]
    quantized = [place for place, found in enumerate(methods) if found and model.layers[place].type not in WIDE_RANGES]
    ends = {quantized[-1]: "last", quantized[0]: "first"} if quantized else {}
    advice = []
    for place, layer in enumerate(model.layers):
        before = model.layers[place - 1] if place else None
        warnings = tuple(_warnings(layer, before, methods[place], chains, ends.get(place, "")))
        advice.append(LayerAdvice(layer.name, layer.type, methods[place], warnings))
    return tuple(advice)


def _fates(chain: Chain, hardware: Hardware, model: ModelFacts, quantization: Quantization) -> tuple[str, ...]:
    declared = catalog.get(catalog.method_operator(chain.method))
    return fates(declared, declared.params.model_validate(dict(chain.options)), hardware, model, quantization)


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

"""What linear layers in bitsandbytes' forms need, how large they are and what they cost, from facts alone."""

import math
from typing import Literal

from pydantic import Field

from titrant.runtime.catalog import Params
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import TENSOR_BYTES, kept_bytes, layers_of, missing, parted, torch_bytes
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Speedup, Unmet, Work
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.frozen import dataclass

# How many scales share one of their own where they are quantized too.
_NESTED_BLOCK = 256
# Loading what quantizes is counted apart; copying and quantizing the weights.
_SECONDS, _LAYER_SECONDS = 0.05, 0.001
_BYTES_PER_SECOND = 250e6
# Measured with bitsandbytes 0.50.2 and torch 2.13 on one thread of a processor with avx512_vnni, layers of 64 x 64 to
# 4096 x 1024; without AVX-512 whole numbers are multiplied as fp32, which was not measured.
INT8 = Arithmetic(
    speedups=(
        Speedup(("product",), {1: 3.0, 32: 4.8, 256: 4.6}, on=("avx512_vnni",)),
        Speedup(("product",), {1: 0.5, 32: 0.8}),
    ),
    layer_seconds=55e-6,
    weights=0.25,
)
FOUR_BITS = Arithmetic(speedups=(Speedup(("product",), {1: 0.27, 32: 0.76, 256: 0.94}),), layer_seconds=25e-6)


@dataclass(frozen=True)
class WeightForm:
    """How weights are held: in 8 bits with a scale a row, or in 4 with one a block, itself held in 8 where `nested`."""

    bits: int
    block: int = 0
    nested: bool = False

    def bytes(self, layer: Layer) -> int:
        """Count a linear layer's weight with its scales."""
        count = math.prod(layer.weight_shape)
        if self.bits == 8:
            return count + 4 * layer.weight_shape[0]
        blocks = -(count // -self.block)
        scales = blocks + 4 * -(blocks // -_NESTED_BLOCK) + 4 if self.nested else 4 * blocks
        return -(count // -2) + scales


def leaves(layer: Layer) -> str:
    """Say why a linear layer keeps its weights in fp32; "" where it does not."""
    return f"its weight is also that of {layer.shared_with}, which needs it in fp32" if layer.shared_with else ""


def unmet(hardware: Hardware, model: ModelFacts | None, method: str) -> tuple[Unmet, ...]:
    """Need torch, bitsandbytes and a linear layer in fp32."""
    packages = missing(hardware, "torch", "bitsandbytes")
    if model is None or any(layer.dtype in ("", "float32") for layer in layers_of(model, "Linear")):
        return packages
    nothing = f"{method} quantizes linear layers only and the model has none in fp32"
    return (*packages, Unmet(nothing, "use ort.static"))


def predicted(hardware: Hardware, model: ModelFacts, form: WeightForm, leave: tuple[str, ...]) -> Prediction:
    """Predict the file: every linear layer that does not share its weight in its new form, all else as it was."""
    taken = [  # those too that a forward which decides on values did not read when it was inspected
        layer
        for layer in model.layers
        if layer.type == "Linear" and layer.name not in leave
        if layer.weight_bytes >= 4 * math.prod(layer.weight_shape) > 0
    ]
    quantized, kept = parted(model, leave, "Linear")
    saved = sum(4 * math.prod(layer.weight_shape) - form.bytes(layer) for layer in taken)
    saved -= sum(form.bytes(layer) for layer in quantized) + kept_bytes(model, leave, "Linear")
    more = (len(taken) + len(quantized)) * TENSOR_BYTES * (3 if form.nested else 1) + len(kept) * TENSOR_BYTES
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _BYTES_PER_SECOND
    return modelled(hardware, seconds, 2 * model.weight_bytes, torch_bytes(model) - saved + more)


class FourBitParams(Params):
    """How many weights share a scale, how scales are held, and which layers are left."""

    block_size: Literal[32, 64, 128, 256, 512, 1024] = Field(64, description="weights that share a scale")
    double_quantization: bool = Field(
        True, description="hold the scales in 8 bits too, with a scale of their own for each 256"
    )
    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")


def predict_four_bits(
    params: FourBitParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count half a byte for each weight of a linear layer, a scale for each block, and all else as it was."""
    if model is None:
        return Prediction()
    form = WeightForm(4, params.block_size, params.double_quantization)
    return predicted(hardware, model, form, params.leave)

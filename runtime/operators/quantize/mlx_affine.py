"""Quantize linear layers and embeddings as MLX does, in groups of 64."""

from typing import Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import EMBEDDINGS, missing, torch_bytes
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Prediction

# Building the description; quantizing and writing the weights.
_SECONDS, _LAYER_SECONDS = 0.1, 0.001
_WRITTEN_BYTES_PER_SECOND = 100e6
_GROUP = 64
# A scale and a bias in fp32 for each group.
_GROUP_BYTES = 8


class MlxAffineParams(Params):
    """How many bits, and which layers keep theirs."""

    bits: Literal[4, 8] = Field(8, description="bits a weight")
    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")


def leaves(layer: Layer) -> str:
    """Say why a layer stays as it is: its rows are not whole groups."""
    row = layer.weight_shape[-1] if layer.weight_shape else 0
    return "" if row and row % _GROUP == 0 else f"its rows of {row} are not whole groups of {_GROUP}"


def _changed(model: ModelFacts, left: tuple[str, ...] = ()) -> tuple[Layer, ...]:
    """Return the layers whose weights are written in few bits, whether a forward pass reads them or not."""
    return tuple(
        layer
        for layer in model.layers
        if layer.type in ("Linear", *EMBEDDINGS) and layer.weight_bytes
        if not leaves(layer) and layer.name not in left
    )


def requires(params: MlxAffineParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need MLX, which quantizes, and a layer whose rows are whole groups."""
    unmet = missing(hardware, "torch", "mlx")
    if model is None or _changed(model, params.leave):
        return unmet
    cause = f"no linear layer or embedding has rows of whole groups of {_GROUP}"
    return (*unmet, Unmet(cause, "use quantization.method none with export mlx"))


def predict(
    params: MlxAffineParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the bits of each weight that is quantized, with a scale and a bias a group, and the others as they are."""
    if model is None:
        return Prediction()
    held = sum(layer.weight_bytes for layer in _changed(model, params.leave))
    count = held // 4
    size = torch_bytes(model) - held + count * params.bits // 8 + count // _GROUP * _GROUP_BYTES
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _WRITTEN_BYTES_PER_SECOND
    return modelled(hardware, seconds, 3 * model.weight_bytes, size)


@operator(
    "quantize.mlx_affine",
    version=2,
    family="quantize",
    params=MlxAffineParams,
    inputs={"model": "torch"},
    outputs={"model": "mlx"},
    requires=requires,
    predict=predict,
    loads=("torch", "mlx.core", "safetensors.torch"),
    libraries=("torch", "mlx", "safetensors"),
    user_code=True,
    method=Method(
        "mlx.affine",
        takes="torch",
        engine="mlx",
        format="mlx",
        bits=(8, 4),
        rank=2,
        devices=("cpu",),
        arithmetic=Arithmetic(),  # its weights are judged unpacked, in the original's modules
        layers=("Linear", "Embedding"),
        named="linear layers and embeddings",
        leaves=leaves,
    ),
)
def quantize_mlx_affine(params: MlxAffineParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Quantize weights with a scale and a bias for every 64 numbers, and write them in MLX's layout.

    Helps when: the model is to run on Apple machines, in a module that is written for MLX, and its weights are most of
                what must be read.
    Inputs:     model - a module with a linear layer or embedding in floating point whose rows are whole groups of 64
    Outputs:    model - one safetensors file as `export.mlx` writes it, with `weight`, `scales` and `biases` for each
                quantized layer, as `mlx.nn.QuantizedLinear` and `QuantizedEmbedding` read them. The measurement
                quantized_layers counts them
    Fails:      PreconditionError X210 when no layer can be quantized; StepError X215 for state that is not a tensor
    Cost:       one copy of the weights
    """
    from titrant.runtime.backends.mlx.weights import NAME, quantizable, write
    from titrant.runtime.operators.model.fold import with_plain_weights

    model = with_plain_weights(model)
    layers = [name for name in quantizable(model.module) if name not in params.leave]
    if not layers:
        message = f"no linear layer or embedding has rows of whole groups of {_GROUP}"
        raise PreconditionError(Diagnostic("X210", message, help="use quantization.method none with export mlx"))
    context.measure("quantized_layers", len(layers))
    return {"model": write(model, context.scratch / NAME, bits=params.bits, layers=layers)}

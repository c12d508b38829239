"""Write a model's weights for MLX."""

from typing import Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import missing, torch_bytes
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Building the description; copying and writing the weights.
_SECONDS, _LAYER_SECONDS = 0.1, 0.0005
_WRITTEN_BYTES_PER_SECOND = 200e6


class ExportMlxParams(Params):
    """Nothing to choose."""


def requires(params: ExportMlxParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, whose module the weights are of."""
    return missing(hardware, "torch")


def predict(
    params: ExportMlxParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights."""
    if model is None:
        return Prediction()
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _WRITTEN_BYTES_PER_SECOND
    return modelled(hardware, seconds, 3 * model.weight_bytes, torch_bytes(model))


@operator(
    "export.mlx",
    version=2,
    family="export",
    params=ExportMlxParams,
    inputs={"model": "torch"},
    outputs={"model": "mlx"},
    requires=requires,
    predict=predict,
    loads=("torch", "safetensors.torch"),
    libraries=("torch", "safetensors"),
    user_code=True,
)
def export_mlx(params: ExportMlxParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Write the weights in MLX's layout, under the names of the torch module's layers.

    Helps when: the model is to run on Apple machines, in a module that is written for MLX.
    Inputs:     model - any module whose state is tensors
    Outputs:    model - one safetensors file: convolutions (out, height, width, in), all else as torch has it, without
                the counts of batch normalization
    Fails:      StepError X215 for state that is not a tensor
    Cost:       one copy of the weights
    """
    from titrant.runtime.backends.mlx.weights import NAME, write
    from titrant.runtime.operators.model.fold import with_plain_weights

    return {"model": write(with_plain_weights(model), context.scratch / NAME)}

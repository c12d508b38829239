"""Take a module that was kept with how it is built as the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, basis_of
from titrant.runtime.cost.sizes import missing, torch_bytes
from titrant.runtime.data.parameters import File
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Building a layer and giving it its weights, and reading these.
_LAYER_SECONDS, _READ_BYTES_PER_SECOND = 0.002, 300e6


class ModelLoadModuleParams(Params):
    """The file, which says itself how its module is built."""

    module: File


def requires(params: ModelLoadModuleParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch."""
    return missing(hardware, "torch")


def predict(
    params: ModelLoadModuleParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights; time is that of building the layers and reading the file."""
    if model is None:
        return Prediction(seconds=0.1, basis="guess")
    size = model.weight_bytes
    seconds = BASE_SECONDS + _LAYER_SECONDS * len(model.layers) + size / _READ_BYTES_PER_SECOND
    peak = 3 * size + (1 << 20)
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=torch_bytes(model), basis=basis_of(hardware))


@operator(
    "model.load_module",
    version=1,
    family="model",
    params=ModelLoadModuleParams,
    inputs={},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.module", "safetensors.torch"),
    libraries=("torch", "safetensors"),
    user_code=True,
)
def model_load_module(params: ModelLoadModuleParams, context: Context) -> Mapping[str, Any]:
    """Build the module that a released safetensors file describes, replay what changed it, and give it its weights.

    Helps when: a module that was quantized or pruned in torch, and released, is judged again as it is.
    Inputs:     none
    Outputs:    model - in eval mode, on the CPU
    Fails:      StepError X212 for a file that holds no tensors, X214 where the factory's source is not what it was, or
                the file says nothing of a module or does not fit it
    Cost:       building the module, and the weights twice
    """
    from titrant.runtime.backends.torch.module import load_torch

    return {"model": load_torch(Path(params.module.path))}

"""Take an existing TorchScript file as the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, basis_of
from titrant.runtime.cost.sizes import torchscript_bytes
from titrant.runtime.data.parameters import File, InputSpecs
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Loading a script and writing it again.
_SECONDS, _LAYER_SECONDS, _READ_BYTES_PER_SECOND = 0.3, 0.01, 100e6
_READER_BYTES = 60 << 20


class ModelLoadTorchscriptParams(Params):
    """The file, and its inputs and outputs as inspected; inspection leaves these empty."""

    torchscript: File
    inputs: InputSpecs = ()
    outputs: InputSpecs = ()


def predict(
    params: ModelLoadTorchscriptParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights, which are nearly the whole file."""
    if model is None:
        return Prediction(seconds=_SECONDS, basis="guess")
    size = torchscript_bytes(model)
    seconds = BASE_SECONDS + _SECONDS + _LAYER_SECONDS * len(model.layers) + size / _READ_BYTES_PER_SECOND
    return Prediction(seconds=seconds, peak_bytes=3 * size + _READER_BYTES, output_bytes=size, basis=basis_of(hardware))


@operator(
    "model.load_torchscript",
    version=2,
    family="model",
    params=ModelLoadTorchscriptParams,
    inputs={},
    outputs={"model": "torchscript"},
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.program.original"),
    libraries=("torch",),
)
def model_load_torchscript(params: ModelLoadTorchscriptParams, context: Context) -> Mapping[str, Any]:
    """Load a TorchScript file and keep it in eval mode.

    TorchScript is a language of its own: loading and running it runs no Python of its author's.

    Helps when: the model exists only as a TorchScript file.
    Inputs:     none
    Outputs:    model - a TorchScript file with the same code and weights, and what it takes and gives
    Fails:      StepError when the file is missing, damaged, of another kind, or calls an
                operator that is not here
    Cost:       one read and one write of the file
    """
    from titrant.runtime.backends.torch.program.original import kept_script
    from titrant.runtime.backends.torch.session import Border

    specs = tuple((spec.name, spec.shape, spec.dtype) for spec in params.inputs)
    border = Border(specs, tuple(spec.name for spec in params.outputs))
    return {"model": kept_script(Path(params.torchscript.path), border, context.scratch)}

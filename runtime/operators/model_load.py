"""Build a PyTorch model from its factory and load its weights."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.data.parameters import File, InputSpecs
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction


class ModelLoadParams(Params):
    """The factory, its arguments (`auto` resolved; inspection resolves it itself) and where the weights come from.

    `weights` None: seeded initial values. `inputs` and `outputs` are those of the inspected model, with the batch
    dimension written "batch"; inspection leaves them empty and takes the data's.
    """

    factory: str
    args: dict[str, Any] = Field(default_factory=dict)
    weights: File | Literal["included"] | None = None
    inputs: InputSpecs = ()
    outputs: InputSpecs = ()


def predict(params: ModelLoadParams, hardware: Hardware, model: ModelFacts | None) -> Prediction:
    """Count the weights; time is the import of torch and a read."""
    size = model.weight_bytes if model else 0
    return Prediction(seconds=2.5 + size / 500e6, peak_bytes=2 * size, output_bytes=size, basis="modelled")


@operator(
    "model.load",
    version=1,
    family="model",
    params=ModelLoadParams,
    inputs={},
    outputs={"model": "torch"},
    predict=predict,
    libraries=("torch", "safetensors"),
    user_code=True,
)
def model_load(params: ModelLoadParams, context: Context) -> Mapping[str, Any]:
    """Call the factory on the CPU with seeded random numbers and load the weights file strictly.

    Helps when: the model is Python code with or without trained weights.
    Inputs:     none
    Outputs:    model - in eval mode, on the CPU, weights as the file has them
    Fails:      StepError when the module or name cannot be imported, the factory raises or returns no module, the file
                cannot be read with weights only, or keys or shapes do not match
    Cost:       the weights once in the file's format and once in the model
    """
    from titrant.runtime.models.loading import load_torch

    model, notes = load_torch(params, seed=context.seed)
    for note in notes:
        context.progress(1, 1, note)
    return {"model": model}

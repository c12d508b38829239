"""Build a PyTorch model from its factory and load its weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, basis_of
from titrant.runtime.cost.sizes import torch_bytes
from titrant.runtime.data.parameters import File, Files, InputSpecs, StateParams
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.units import format_size

if TYPE_CHECKING:
    from titrant.runtime.backends.torch.weights import WeightsChoice
    from titrant.runtime.values import TorchModel
    from titrant.schema.facts import LoadedWeights

# Finding the source that the factory rests on among all loaded modules; building a layer; reading and keeping weights.
_SOURCE_SECONDS, _LAYER_SECONDS = 0.1, 0.0005
_READ_BYTES_PER_SECOND = 250e6
# What the first look at all loaded modules leaves behind.
_SOURCE_BYTES = 7 << 19


class ModelLoadParams(Params):
    """The factory, its arguments (`auto` resolved; inspection resolves it itself) and where the weights come from.

    `weights` None: seeded initial values; an index has its shards in `shards`. `key` and `prefix` say where in the file
    they stand; inspection leaves open what the recipe does not say. `inputs` and `outputs` are those of the inspected
    model, with the batch dimension written "batch"; inspection leaves them empty and takes the data's.
    """

    factory: str
    args: dict[str, Any] = Field(default_factory=dict)
    weights: File | Literal["included"] | None = None
    shards: Files = Field((), exclude_if=lambda value: not value)
    key: str | None = Field(None, exclude_if=lambda value: value is None)
    prefix: str | None = Field(None, exclude_if=lambda value: value is None)
    inputs: InputSpecs = ()
    outputs: InputSpecs = ()

    state: StateParams | None = Field(None, exclude_if=lambda value: value is None)

    @property
    def choice(self) -> "WeightsChoice":
        """Where in the file the weights stand."""
        from titrant.runtime.backends.torch.weights import WeightsChoice

        return WeightsChoice(self.key, self.prefix)

    @property
    def weights_digest(self) -> Any:
        """What stands for the weights in a digest."""
        if self.weights is None or isinstance(self.weights, str):
            return self.weights
        beside = [shard.digest for shard in self.shards] + [
            text for text in (self.key, self.prefix) if text is not None
        ]
        return [self.weights.digest, *beside] if beside else self.weights.digest


def predict(
    params: ModelLoadParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights; time is that of building the layers and reading a file."""
    if model is None:
        return Prediction(seconds=0.1, basis="guess")
    size = torch_bytes(model)
    seconds = (
        BASE_SECONDS
        + _SOURCE_SECONDS
        + _LAYER_SECONDS * len(model.layers)
        + model.weight_bytes / _READ_BYTES_PER_SECOND
    )
    bases = {"output_bytes": "counted"}
    peak = 3 * model.weight_bytes + _SOURCE_BYTES
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=size, basis=basis_of(hardware), bases=bases)


@operator(
    "model.load",
    version=3,
    family="model",
    params=ModelLoadParams,
    inputs={},
    outputs={"model": "torch"},
    predict=predict,
    loads=(
        "torch",
        "titrant.runtime.backends.torch.factory",
        "titrant.runtime.backends.torch.weights",
        "safetensors.torch",
    ),
    libraries=("torch", "safetensors"),
    user_code=True,
)
def model_load(params: ModelLoadParams, context: Context) -> Mapping[str, Any]:
    """Call the factory on the CPU with seeded random numbers and load the weights file strictly.

    Helps when: the model is Python code with or without trained weights.
    Inputs:     none
    Outputs:    model - in eval mode, on the CPU, weights as the file has them, each contiguous in a memory of its own,
                tied ones in one; where that is not as the factory built it, the measurements storage_bytes_built and
                storage_bytes count what memory was held before and after
    Fails:      StepError when the module or name cannot be imported, the factory raises or returns no module, the file
                cannot be read with weights only, names or shapes do not match, or several sets of weights fit
    Cost:       the weights once in the file's format and once in the model
    """
    from titrant.runtime.backends.torch.determinism import lay_out, storage_bytes

    model, loaded = load_torch(params, seed=context.seed)
    built = storage_bytes(model.module)
    lay_out(model.module)
    if (held := storage_bytes(model.module)) != built:
        context.measure("storage_bytes_built", built, "B")
        context.measure("storage_bytes", held, "B")
        context.note(f"its weights held {format_size(built)} of memory as built, and {format_size(held)} laid out")
    if loaded is not None:
        context.progress(1, 1, f"{loaded.tensors} tensors of {loaded.file}")
    return {"model": model}


def load_torch(params: ModelLoadParams, *, seed: int) -> "tuple[TorchModel, LoadedWeights | None]":
    """Return the model on the CPU in eval mode, and how a weights file fitted it.

    Initial values are drawn from `seed`; the global generators are left as they were.
    """
    from titrant.runtime.backends.torch.factory import build, seeded, source_digest
    from titrant.runtime.backends.torch.weights import load_weights
    from titrant.runtime.values import TorchModel

    with seeded(seed):
        module = build(params.factory, params.args)
    loaded = None
    if params.weights is not None and not isinstance(params.weights, str):
        loaded = load_weights(module, params.weights.path, params.choice)
    model = TorchModel(
        module=module.cpu().eval(),
        factory=params.factory,
        args=dict(params.args),
        source_digest=source_digest(params.factory),
        inputs=tuple((spec.name, spec.shape, spec.dtype) for spec in params.inputs),
        outputs=tuple(spec.name for spec in params.outputs),
        recurrence=None if params.state is None else params.state.recurrence,
    )
    return model, loaded

"""The `model` section: where the network and its weights come from."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from titrant.schema.recipe.tasks import OutputKind
from titrant.schema.recipe.terms import Count, PathText, Ref, Section, Text, unsaid

# The only output of a model whose raw outputs `decode` turns into boxes.
BOXES = "boxes"
Dtype = Literal["float16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool"]
# The keys of which exactly one says what the model is.
MODEL_SOURCES = ("factory", "onnx", "torchscript", "exported", "huggingface")


class InputSpec(Section):
    """One input of the model."""

    name: Text = Field(description="name of the input, as `forward` or the file calls it")
    shape: tuple[Count | Literal["batch"], ...] = Field(
        description="sizes of all dimensions, the batch first; `batch` marks a free size; [] is one number a batch"
    )
    dtype: Dtype = Field("float32", description="element type")
    value: bool | int | float | None = Field(
        None, description="the number of an input of shape [], where it is no column of the data"
    )


class OutputSpec(Section):
    """One output of the model."""

    name: Text | None = Field(None, description="name of the output; default: as the model has it")
    kind: OutputKind | None = Field(
        None, description="what the numbers are; default: from the task; what the answers contradict is refused"
    )


class WeightsFile(Section):
    """A weights file, and which of the weights in it are meant."""

    path: PathText = Field(description="the file")
    key: str | None = Field(
        None, description='key that leads to the weights, such as `model_ema`, of several with dots; "" is the top'
    )
    prefix: str | None = Field(None, description='what stands before every name of the model; "" is nothing')


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, dict) else value


class Model(Section):
    """The network to optimize; exactly one of `factory`, `onnx`, `torchscript`, `exported`, `huggingface`."""

    factory: Ref | None = Field(None, description="`module:Name` that builds a torch module; runs your code")
    onnx: PathText | None = Field(None, description="path of an .onnx file")
    torchscript: PathText | None = Field(None, description="path of a TorchScript file")
    exported: PathText | None = Field(None, description="path of a torch.export file (.pt2)")
    huggingface: Text | None = Field(
        None, description="path or id of a Hugging Face model; its Auto class is the task's"
    )
    args: Mapping[str, Any] = Field(
        default_factory=dict,
        description="arguments of the factory or `from_pretrained`; `features`, `classes`, `vocabulary` may be `auto`",
    )
    weights: PathText | WeightsFile | None = Field(
        None,
        description="path of .safetensors, .pt, .pth, .th, .ckpt, .bin or the .index.json of shards, or the path with "
        "`key` and `prefix` where several sets of weights stand in it; `included`: the factory loads its own; "
        "default: none for a factory (then `train` is needed), else included",
    )
    inputs: tuple[InputSpec, ...] | None = Field(None, min_length=1, description="the inputs; default: from the data")
    decode: Ref | None = Field(
        None, exclude_if=unsaid,
        description="`module:Name` of one case's raw outputs that returns boxes (N, 4), scores (N), labels (N)",
    )  # fmt: skip
    state: Mapping[str, Text] | None = Field(
        None, description="output → input: recurrent state, fed back within one case, zero at its start"
    )
    output: Annotated[
        tuple[OutputSpec, ...] | None,
        BeforeValidator(_several, json_schema_input_type=OutputSpec | tuple[OutputSpec, ...]),
    ] = Field(None, description="the output, or a list (labelled tasks judge the first); default: from the task")

    @property
    def weights_path(self) -> str | None:
        """The path of the weights, or `included`, as written."""
        return self.weights.path if isinstance(self.weights, WeightsFile) else self.weights

    @property
    def source(self) -> str:
        """The key that says what the model is, "" where none does."""
        return next((key for key in MODEL_SOURCES if getattr(self, key) is not None), "")

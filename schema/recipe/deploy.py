"""The `target`, `memory`, `export` and `batching` sections: limits, memory, released files, batches while serving."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from titrant.schema.recipe.terms import (
    MOST_COUNT,
    Added,
    Auto,
    Count,
    CountOrNone,
    Form,
    Fraction,
    Off,
    Positive,
    Section,
    Size,
    Text,
    Threads,
    Time,
    installed,
)

Device = Annotated[
    str,
    Field(pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?|mps)$"),
    Form("`auto`, `cpu`, `cuda`, `cuda:N` or `mps`", ("auto", "cpu", "cuda", "mps")),
]


_Engine = Literal["auto", "torch", "onnxruntime", "openvino", "tensorrt"]
_Format = Literal["auto", "onnx", "torchscript", "exported", "aoti", "safetensors", "openvino", "mlx"]
# The names of the language, in its order; installed packages may add others.
ENGINES: tuple[str, ...] = get_args(_Engine)
FORMATS: tuple[str, ...] = get_args(_Format)
EngineName = Annotated[_Engine, installed("backends"), Added("backends")]
ExportFormat = Annotated[_Format, installed("formats"), Added("formats")]


class Latency(Section):
    """Upper limits of the time for one batch."""

    p50: Time | None = Field(None, description="median, such as `5 ms`")
    p95: Time | None = Field(None, description="95th percentile, such as `8 ms`")
    p99: Time | None = Field(None, description="99th percentile, such as `12 ms`")
    batch: Count = Field(1, description="cases in a batch")
    scenario: Literal["single_stream", "offline"] = Field(
        "single_stream", description="one batch after another, or all"
    )


class Target(Section):
    """The device, engine and limits of the released model."""

    device: Device = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    engine: EngineName = Field("auto", description="what runs the released model")
    threads: Threads = Field(1, description="threads for timing and gates")
    latency: Latency | None = Field(None, description="upper limits of the latency")
    peak_memory: Size | None = Field(None, description="upper limit of the memory while answering, such as `512 MiB`")
    size: Size | None = Field(None, description="upper limit of the file, such as `200 KiB`")
    throughput: Positive | None = Field(None, description="lower limit, cases a second")


def is_offline(target: Target) -> bool:
    """Whether all cases are there at the start, so that throughput counts and no answer is waited for."""
    return target.latency is not None and target.latency.scenario == "offline"


class Guard(Section):
    """Shares of the memory from which something is done about it."""

    normal: Fraction = Field(0.70, description="share of the memory below which all is well")
    high: Fraction = Field(0.85, description="share of the memory that is high pressure")
    critical: Fraction = Field(0.95, description="share of the memory that is critical pressure")
    allow: tuple[Text, ...] = Field((), description="actions that may change numbers")


class Memory(Section):
    """How memory is saved."""

    gradient_checkpointing: Annotated[Auto | Fraction | None, Off] = Field(
        None, description="fraction of the layers whose activations are computed again"
    )
    offload: Literal["none", "auto", "cpu", "disk"] = Field(
        "none", description="where activations of a training go that do not fit"
    )
    offload_from: Fraction = Field(0.8, description="share of the memory up to which a training keeps all in it")
    guard: Guard = Field(default_factory=Guard.model_construct, description="pressure levels and what they allow")
    layout: Literal["auto", "contiguous", "channels_last"] = Field(
        "auto", description="how weights of convolutions lie in memory where torch trains or runs them"
    )


# A file's stem: no folder can be named, so nothing is ever written outside `outputs/`.
FileName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"),
    Form("a name (letters, digits, `-`, `_`, `.`; the first a letter or digit; at most 100)", kind="name"),
]


class Export(Section):
    """One file to release; each format is its own judged candidate."""

    format: ExportFormat = Field("auto", description="format of the file; auto: the winner's own")
    opset: Annotated[int, Field(ge=14, le=MOST_COUNT)] | None = Field(
        None, description="ONNX opset, 14 or more; default: the lowest"
    )
    name: FileName | None = Field(
        None, description="file name without ending: letters, digits, `-`, `_`, `.`; default: `model`"
    )
    external_data: bool = Field(
        False, description="weights in a file of their own beside the .onnx; above 2 GB they are there in any case"
    )
    transforms: Literal["beside", "inside"] = Field(
        "beside",
        exclude_if=lambda value: value == "beside",
        description="where the transforms are: in a file beside the model, or inside it, which then takes raw columns",
    )


class Chunk(Section):
    """How large inputs are cut."""

    size: Count = Field(description="length of a chunk")
    overlap: CountOrNone = Field(0, description="length that two chunks share")


class Batching(Section):
    """How requests become batches."""

    size: Auto | Count = Field("auto", description="cases in a batch, at most")
    strategy: Literal["timeout", "latency_aware", "memory_aware"] = Field(
        "timeout", description="when a batch is closed"
    )
    max_wait: Time | None = Field(None, description="longest wait for more requests, such as `5 ms`")
    target_latency: Time | None = Field(None, description="latency that `latency_aware` keeps, such as `20 ms`")
    chunk: Chunk | None = Field(None, description="cut large inputs")

"""The `target` section: what the released model must fit."""

from typing import Annotated, Literal

from pydantic import Field

from titrant.schema.recipe.terms import Count, Form, Positive, Section, Size, Threads, Time

Device = Annotated[
    str,
    Field(pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?|mps)$"),
    Form("`auto`, `cpu`, `cuda`, `cuda:N` or `mps`", ("auto", "cpu", "cuda", "mps")),
]


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
    engine: Literal["auto", "torch", "onnxruntime", "openvino", "tensorrt"] = Field(
        "auto", description="what runs the released model"
    )
    threads: Threads = Field(1, description="threads for timing and gates")
    latency: Latency | None = Field(None, description="upper limits of the latency")
    peak_memory: Size | None = Field(None, description="upper limit of the memory while answering, such as `512 MiB`")
    size: Size | None = Field(None, description="upper limit of the file, such as `200 KiB`")
    throughput: Positive | None = Field(None, description="lower limit, cases a second")

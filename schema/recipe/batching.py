"""The `batching` section: how single requests are put together while serving."""

from typing import Literal

from pydantic import Field

from titrant.schema.recipe.terms import Auto, Count, CountOrNone, Section, Time


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

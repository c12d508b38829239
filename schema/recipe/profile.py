"""The `profile` section: what is measured beside the contract."""

from pydantic import Field

from titrant.schema.recipe.terms import Count, CountOrNone, Section


class Profile(Section):
    """What is timed and counted."""

    batches: tuple[Count, ...] = Field((1, 8, 32), min_length=1, description="batch sizes that are timed")
    iterations: Count = Field(100, description="timed runs of each batch size")
    warmup: CountOrNone = Field(10, description="runs before the clock starts")
    layers: bool = Field(False, description="time, memory and FLOPs of each layer")
    utilization: bool = Field(False, description="utilization of processors while running")
    memory: bool = Field(False, description="memory after each step")
    trace: bool = Field(False, description="a timeline in the Chrome trace format")

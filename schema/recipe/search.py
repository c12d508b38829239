"""The `search` section: what is looked for among the candidates, and for how long."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from titrant.schema.recipe.terms import Auto, Count, Off, Positive, Section

Objective = Literal["latency", "size", "peak_memory", "throughput", "quality"]


class Budget(Section):
    """When the search ends."""

    evaluations: Count | None = Field(None, description="candidates tried, at most")
    minutes: Positive | None = Field(None, description="minutes, at most")


class Range(Section):
    """A stretch of numbers to search."""

    low: float = Field(description="smallest value")
    high: float = Field(description="largest value")
    log: bool = Field(False, description="search on a logarithmic scale")


class Search(Section):
    """What makes one candidate better than another."""

    objective: tuple[Objective, ...] = Field(
        ("latency", "size"), min_length=1, description="what counts, first things first"
    )
    budget: Auto | Budget = Field("auto", description="when the search ends")
    mix_layers: bool = Field(True, description="leave the most sensitive layers in high precision")
    space: Annotated[Mapping[str, tuple[Any, ...] | Range] | None, Off] = Field(
        None, min_length=1, description="recipe path → values or range to try"
    )
    sampler: Literal["tpe", "nsga2", "random"] = Field("tpe", description="how `space` is searched")

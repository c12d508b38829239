"""The `memory` section: memory while titrant works and while the model serves."""

from typing import Annotated, Literal

from pydantic import Field

from titrant.schema.recipe.terms import Auto, Fraction, Off, Section, Text


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
    offload: Literal["none", "auto", "cpu", "disk"] = Field("none", description="where weights go that do not fit")
    offload_from: Fraction = Field(0.8, description="share of the device memory from which weights are moved")
    guard: Guard = Field(default_factory=Guard.model_construct, description="pressure levels and what they allow")
    layout: Literal["auto", "contiguous", "channels_last"] = Field(
        "auto", description="order of the dimensions in memory"
    )

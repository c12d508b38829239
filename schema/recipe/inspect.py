"""The `inspect` section: what is looked at inside the model."""

from pydantic import Field

from titrant.schema.recipe.terms import Section


class Inspect(Section):
    """What the report shows of the model's inside."""

    summary: bool = Field(False, description="table of the parameters")
    health: bool = Field(False, description="NaN, infinity and odd ranges in weights and activations")
    attention: bool = Field(False, description="attention heat maps")

"""Which of the model's outputs each entry of `model.output` is about."""

from collections.abc import Sequence

from titrant.schema.facts import TensorSpec
from titrant.schema.recipe import Recipe


def output_names(recipe: Recipe, outputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Name every entry of `model.output`: as written, else by its place among the model's outputs.

    `check_facts` has refused an entry whose place the model does not have.
    """
    return tuple(one.name or outputs[place].name for place, one in enumerate(recipe.model.output or ()))

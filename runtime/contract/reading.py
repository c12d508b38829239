"""How a model's raw outputs are read: the task, the output that is judged, and what its numbers mean."""

from typing import Literal

from pydantic import Field

from titrant.runtime.catalog import Params
from titrant.schema.recipe.model import OutputKind

JudgedTask = Literal["binary_classification", "multiclass_classification", "unlabeled"]


class Reading(Params):
    """What an operator must know to turn outputs into decisions and probabilities."""

    task: JudgedTask = Field(description="what the model is asked to do")
    output: str = Field("", description="the output that a labelled task judges; empty: the only one")
    kinds: dict[str, OutputKind] = Field(
        default_factory=dict,
        description="output name → what its numbers are; one left out holds logits for a labelled task, else values",
    )

    def kind(self, name: str) -> OutputKind:
        """Return what the numbers of an output are."""
        return self.kinds.get(name, "values" if self.task == "unlabeled" else "logits")

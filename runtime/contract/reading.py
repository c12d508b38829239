"""How a model's raw outputs are read: the task, the output that is judged, and what its numbers mean."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from titrant.runtime.catalog import Params
from titrant.schema.recipe.tasks import CLASSIFYING, TASKS, OutputKind

JudgedTask = Literal[
    "binary_classification", "multiclass_classification", "multilabel_classification", "regression",
    "segmentation", "detection", "language_modeling", "embedding", "unlabeled",
]  # fmt: skip


class AnswerComparison(Params):
    """How two answers of one output are compared: the measure, and what of it counts as the same.

    `tolerance` is the least cosine or Dice coefficient, or the largest relative or absolute difference of a case; the
    other measures have none.
    """

    measure: Literal["same_class", "same_labels", "cosine", "neighbor", "dice", "boxes", "relative", "absolute"]
    tolerance: float | None = Field(None, ge=0)


# What counts as the same where nothing is said.
TOLERANCES: Mapping[str, float] = {"cosine": 0.99, "dice": 0.95, "relative": 0.01}


class TokenReading(Params):
    """Which output of a language model is judged, and what its numbers are; "": the first output."""

    output: str = ""
    kind: OutputKind = "logits"


class Reading(Params):
    """What an operator must know to turn outputs into decisions and probabilities."""

    task: JudgedTask = Field(description="what the model is asked to do")
    output: str = Field("", description="the output that a labelled task judges; empty: the only one")
    kinds: dict[str, OutputKind] = Field(
        default_factory=dict,
        description="output name → what its numbers are; one left out holds logits for a labelled task, else values",
    )

    agreement: dict[str, AnswerComparison] = Field(
        default_factory=dict,
        exclude_if=lambda value: not value,  # what says nothing changes no key
        description="output name → how two answers without labels are compared; one left out: by its kind",
    )

    score: float = Field(
        0.5, ge=0, le=1, exclude_if=lambda value: value == 0.5, description="from which on a box counts for box_f1"
    )

    def comparison(self, name: str, *, classes: bool, judged: bool = False) -> AnswerComparison:
        """Return how two answers of an output are compared.

        `classes` says that its last dimension has several, `judged` that it is the output that the labels are about.
        """
        if name in self.agreement:
            return self.agreement[name]
        kind = self.kind(name)
        if judged and self.task == "multilabel_classification" and kind in CLASSIFYING:
            return AnswerComparison(measure="same_labels")
        if kind == "mask" or self.task == "segmentation":
            return AnswerComparison(measure="dice", tolerance=TOLERANCES["dice"])
        if kind == "boxes":
            return AnswerComparison(measure="boxes")
        if kind in CLASSIFYING and classes:
            return AnswerComparison(measure="same_class")
        if kind == "embedding":
            return AnswerComparison(measure="cosine", tolerance=TOLERANCES["cosine"])
        return AnswerComparison(measure="relative", tolerance=TOLERANCES["relative"])

    def kind(self, name: str) -> OutputKind:
        """Return what the numbers of an output are."""
        return self.kinds.get(name, TASKS[self.task].output)

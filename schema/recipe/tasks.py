"""The tasks: what their labels are, what an output holds where nobody says, and by which metrics answers are judged."""

from collections.abc import Mapping
from typing import Literal

from titrant.schema.recipe.model import OutputKind
from titrant.schema.values.frozen import dataclass

# What the label of a row is: a class, or one or several numbers; "none": the task has no labels.
LabelKind = Literal["class", "numbers", "none"]

# How a metric follows from the mean of what each case scores: the mean itself, its root, or one minus its share of the
# variance of the labels.
ScoreLink = Literal["mean", "root", "explained"]


@dataclass(frozen=True)
class CaseMetric:
    """A metric that follows from the mean over cases of a score that each case has alone.

    `highest` is the most that a score can be, from 0 on; None: it is in the label's unit, and bounded by the range of
    the labels. `comparisons` are those that a bound is known of.
    """

    less_is_better: bool
    comparisons: tuple[str, ...]
    link: ScoreLink = "mean"
    highest: float | None = 1.0


_ALL = ("at_least", "at_most", "retention", "drop_at_most", "rise_at_most", "ratio_at_least")
CASE_METRICS: Mapping[str, CaseMetric] = {
    "mae": CaseMetric(True, _ALL, highest=None),
    # A difference of two roots is no mean of anything that a case has alone.
    "rmse": CaseMetric(True, ("at_least", "at_most", "retention"), "root", highest=None),
    "r2": CaseMetric(False, ("at_least", "at_most", "retention", "drop_at_most", "rise_at_most"), "explained", None),
}


@dataclass(frozen=True)
class TaskTerms:
    """One task: `main` is the metric that `validation.retention` is about, `metrics` are all that gates may name."""

    label: LabelKind
    main: str
    metrics: tuple[str, ...]
    output: OutputKind  # kind of an output of which the recipe says nothing
    over_constant: str = ""  # a metric that is 0 for the best constant answer, and above it for a better one

    @property
    def by_case(self) -> bool:
        """Whether each case has scores of its own, of which the metrics are made."""
        return self.main in CASE_METRICS


_OF_CLASSES = (
    "accuracy", "balanced_accuracy", "brier", "agreement", "sensitivity", "specificity", "precision", "f1", "auroc",
)  # fmt: skip

# Those of this version; the language has more.
TASKS: Mapping[str, TaskTerms] = {
    "binary_classification": TaskTerms("class", "accuracy", _OF_CLASSES, "logits"),
    "multiclass_classification": TaskTerms("class", "accuracy", _OF_CLASSES, "logits"),
    "regression": TaskTerms("numbers", "mae", ("mae", "rmse", "r2", "agreement"), "values", "r2"),
    "unlabeled": TaskTerms("none", "agreement", ("agreement",), "values"),
}

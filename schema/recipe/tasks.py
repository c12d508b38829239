"""The tasks: what their labels are, what an output holds where nobody says, and by which metrics answers are judged."""

from collections.abc import Mapping
from typing import Literal

from titrant.schema.values.frozen import dataclass

OutputKind = Literal["logits", "probabilities", "log_probabilities", "values", "mask", "boxes", "embedding"]
# The kinds that a class is decided from.
CLASSIFYING: tuple[OutputKind, ...] = ("logits", "probabilities", "log_probabilities")
# What the label of a row is: a class, one or several numbers, which of several labels it has, a class for each pixel,
# boxes with a class each, the token that each position is to give, which the input itself tells, or the group that a
# row belongs to, which may be left out.
LabelKind = Literal["class", "numbers", "labels", "mask", "boxes", "tokens", "groups", "none"]
# Kinds that a recipe may leave out.
OPTIONAL_LABELS: tuple[LabelKind, ...] = ("tokens", "groups")

# How a metric follows from what each case scores: the mean of it, its root, its exponential, one minus its share of the
# labels' variance; or a quantile.
ScoreLink = Literal["mean", "root", "exponential", "explained", "quantile"]


@dataclass(frozen=True)
class CaseMetric:
    """A metric that follows from the mean over cases of a score that each case has alone.

    `highest` is the most that a score can be, from 0 on; None: it is in the label's unit, and bounded by the range of
    the labels. `comparisons` are those that a bound is known of. `beside_original`: it says how alike the candidate
    answers, so that the original itself scores the most there is. `share` is that of a quantile.
    """

    less_is_better: bool
    comparisons: tuple[str, ...]
    link: ScoreLink = "mean"
    highest: float | None = 1.0
    beside_original: bool = False
    share: float = 0.0  # of the cases that score no more than a quantile


_ALIKE = ("at_least", "ratio_at_least")
_ALL = ("at_least", "at_most", "retention", "drop_at_most", "rise_at_most", "ratio_at_least")
_OF_QUANTILES = ("at_least", "at_most", "retention", "rise_at_most", "ratio_at_least")
CASE_METRICS: Mapping[str, CaseMetric] = {
    "mae": CaseMetric(True, _ALL, highest=None),
    **{
        f"error_p{percent}": CaseMetric(True, _OF_QUANTILES, "quantile", None, share=percent / 100)
        for percent in (50, 95, 99)
    },
    # A difference of two roots is no mean of anything that a case has alone.
    "rmse": CaseMetric(True, ("at_least", "at_most", "retention"), "root", highest=None),
    "macro_f1": CaseMetric(False, _ALL),
    "label_accuracy": CaseMetric(False, _ALL),
    "exact_match": CaseMetric(False, _ALL),
    # How much more of the labels are right than by the best constant answer.
    "gain_over_constant": CaseMetric(False, ("at_least",)),
    "r2": CaseMetric(False, ("at_least", "at_most", "retention", "drop_at_most", "rise_at_most"), "explained", None),
    # Of a difference of two exponentials no mean tells.
    "perplexity": CaseMetric(True, ("at_least", "at_most", "retention", "ratio_at_least"), "exponential", highest=None),
    # By how many nats a token the answers beat the best distribution that is the same everywhere.
    "over_unigram": CaseMetric(False, _ALL[:-1], highest=None),
    "token_agreement": CaseMetric(False, _ALIKE, beside_original=True),
    "cosine": CaseMetric(False, _ALIKE[:1], beside_original=True),
    "neighbor": CaseMetric(False, _ALIKE, beside_original=True),
    "recall_at_1": CaseMetric(False, _ALL),
    "dice": CaseMetric(False, _ALL),
    "iou": CaseMetric(False, _ALL),
    # In pixels, and at most the diagonal of the image.
    "surface_distance": CaseMetric(True, _ALL, highest=None),
    "hausdorff_95": CaseMetric(True, _ALL, highest=None),
    "box_f1": CaseMetric(False, _ALL),
    # By how much a case's score is above that of the best constant answer; only the original is judged by them.
    "dice_over_constant": CaseMetric(False, ("at_least",)),
    "box_f1_over_constant": CaseMetric(False, ("at_least",)),
}

# Metrics of a whole set of images, of which no image has a part of its own.
SET_METRICS = ("average_precision", "average_precision_50")


# Metrics of one of several labels, which a slice `class X` names.
OF_ONE_LABEL = ("sensitivity", "specificity", "precision", "f1", "auroc")


@dataclass(frozen=True)
class TaskTerms:
    """One task: `main` is the metric that `validation.retention` is about, `metrics` are all that gates may name."""

    label: LabelKind
    main: str
    metrics: tuple[str, ...]
    output: OutputKind  # kind of an output of which the recipe says nothing
    over_constant: str = ""  # a metric that is 0 for the best constant answer, and above it for a better one
    same: str = "agreement"  # the share of the cases that are answered as before: what stands for equal decisions

    @property
    def of_groups(self) -> str:
        """The metric by which subgroups are compared where nobody names one: the main one, where groups have it."""
        if self.main not in SET_METRICS:
            return self.main
        return next(metric for metric in self.metrics if metric in CASE_METRICS)

    @property
    def by_case(self) -> bool:
        """Whether each case has scores of its own, of which the metrics are made."""
        return self.main in CASE_METRICS


_OF_CLASSES = (
    "accuracy", "balanced_accuracy", "brier", "agreement", "sensitivity", "specificity", "precision", "f1", "auroc",
    "net_benefit", "calibration_slope", "calibration_intercept",
)  # fmt: skip

# Those of this version; the language has more.
TASKS: Mapping[str, TaskTerms] = {
    "binary_classification": TaskTerms("class", "accuracy", _OF_CLASSES, "logits"),
    "multiclass_classification": TaskTerms("class", "accuracy", _OF_CLASSES, "logits"),
    "regression": TaskTerms(
        "numbers", "mae", ("mae", "rmse", "r2", "error_p50", "error_p95", "error_p99", "agreement"), "values", "r2"
    ),
    "multilabel_classification": TaskTerms(
        "labels", "macro_f1", ("macro_f1", "label_accuracy", "exact_match", *OF_ONE_LABEL, "agreement"), "logits",
        "gain_over_constant",
    ),
    "language_modeling": TaskTerms(
        "tokens", "perplexity", ("perplexity", "token_agreement", "agreement"), "logits", "over_unigram",
        same="token_agreement",
    ),
    "embedding": TaskTerms("groups", "neighbor", ("neighbor", "cosine", "recall_at_1", "agreement"), "embedding"),
    "segmentation": TaskTerms(
        "mask",
        "dice",
        ("dice", "iou", "surface_distance", "hausdorff_95", "agreement"),
        "logits",
        "dice_over_constant",
    ),
    "detection": TaskTerms(
        "boxes",
        "average_precision",
        (*SET_METRICS, "box_f1", "agreement"),
        "boxes",
        "box_f1_over_constant",
    ),
    "unlabeled": TaskTerms("none", "agreement", ("agreement",), "values"),
}  # fmt: skip

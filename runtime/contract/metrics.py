"""Metrics of a model's answers against the labels, also by subgroup; None where the cases do not define one."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from titrant.runtime.contract.answers import Answers, CaseCount
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.statistics.auroc import midranks
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.values import Rows
from titrant.schema.gate import LESS_IS_BETTER
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.runtime.contract.tasks.cases import CaseAnswers

# labels (rows,), positive class index or None
MetricFunction = Callable[[Answers, np.ndarray, int | None], float | None]


def hits(metric: str, decisions: np.ndarray, labels: np.ndarray, positive: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return which cases a proportion counts, and which of all cases were decided right; both (rows,) bool.

    Accuracy counts all cases, sensitivity those of the positive class, specificity the others, for which "right" is
    that they were not taken for positive.
    """
    if metric == "accuracy":
        return np.ones(len(labels), bool), decisions == labels
    if positive is None:
        return np.zeros(len(labels), bool), decisions == labels
    if metric == "sensitivity":
        return labels == positive, decisions == positive
    if metric == "specificity":
        return labels != positive, decisions != positive
    raise KeyError(metric)


def _proportion(name: str) -> MetricFunction:
    def compute(answers: Answers, labels: np.ndarray, positive: int | None) -> float | None:
        counted, right = hits(name, answers.decisions, labels, positive)
        return float(right[counted].mean()) if counted.any() else None

    return compute


def _balanced_accuracy(answers: Answers, labels: np.ndarray, positive: int | None) -> float | None:
    present = np.unique(labels)
    recalls = [(answers.decisions[labels == index] == index).mean() for index in present]
    return float(np.mean(recalls)) if len(present) else None


def _precision_of(decisions: np.ndarray, labels: np.ndarray, index: int) -> float | None:
    chosen = decisions == index
    return float((labels[chosen] == index).mean()) if chosen.any() else None


def _precision(answers: Answers, labels: np.ndarray, positive: int | None) -> float | None:
    return None if positive is None else _precision_of(answers.decisions, labels, positive)


def _f1(answers: Answers, labels: np.ndarray, positive: int | None) -> float | None:
    """F1 of the positive class, or the mean over the classes where there is none."""
    indices = np.unique(labels) if positive is None else [positive]
    scores = []
    for index in indices:
        both = np.sum((answers.decisions == index) & (labels == index))
        either = np.sum(answers.decisions == index) + np.sum(labels == index)
        if either:
            scores.append(2 * both / either)
    return float(np.mean(scores)) if scores else None


def _auroc(answers: Answers, labels: np.ndarray, positive: int | None) -> float | None:
    """Area under the ROC curve of the positive class against the rest, by midranks (Mann and Whitney)."""
    if positive is None:
        if answers.probabilities.shape[1] != 2:
            return None
        positive = 1  # with two classes either gives the same area
    cases = labels == positive
    count, rest = int(cases.sum()), int((~cases).sum())
    if not count or not rest:
        return None
    ranks = midranks(answers.probabilities[:, positive])
    return float((ranks[cases].sum() - count * (count + 1) / 2) / (count * rest))


def brier_of_cases(probabilities: np.ndarray, labels: np.ndarray, positive: int | None) -> np.ndarray:
    """Return each case's Brier score, 0..1: squared error of the positive class, or half the sum over all classes."""
    if probabilities.shape[1] == 2:
        index = 1 if positive is None else positive
        score: np.ndarray = (probabilities[:, index] - (labels == index)) ** 2
        return score
    target = np.eye(probabilities.shape[1])[labels]
    halved: np.ndarray = ((probabilities - target) ** 2).sum(axis=1) / 2
    return halved


def _brier(answers: Answers, labels: np.ndarray, positive: int | None) -> float | None:
    return float(brier_of_cases(answers.probabilities, labels, positive).mean()) if len(labels) else None


METRICS: Mapping[str, MetricFunction] = {
    "accuracy": _proportion("accuracy"),
    "balanced_accuracy": _balanced_accuracy,
    "sensitivity": _proportion("sensitivity"),
    "specificity": _proportion("specificity"),
    "precision": _precision,
    "f1": _f1,
    "auroc": _auroc,
    "brier": _brier,
}


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, edges: np.ndarray) -> float | None:
    """Return the expected calibration error of the top class, in bins whose `edges` the original fixed."""
    if not len(labels):
        return None
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.searchsorted(edges, top, side="right") - 1, 0, len(edges) - 2)
    error = 0.0
    for index in np.unique(bins):
        inside = bins == index
        error += inside.mean() * abs(right[inside].mean() - top[inside].mean())
    return float(error)


def calibration_edges(probabilities: np.ndarray, count: int = 10) -> np.ndarray:
    """Return bin edges that hold equally many of the original's top probabilities, ends at 0 and 1."""
    inner = np.quantile(probabilities.max(axis=1), np.linspace(0, 1, count + 1)[1:-1]) if len(probabilities) else []
    return np.concatenate([[0.0], np.unique(inner), [1.0]])


# Fewer rows than these tell a model from a constant answer only by chance.
FEWEST_ROWS = 10
# Every constant answer is right in all cases of one class and in none of the other.
_EITHER = 0.5


@dataclass(frozen=True)
class ConstantComparison:
    """A model's figure beside that of the best constant answer, `answer`, on the same rows."""

    metric: str
    original: float
    constant: float
    answer: str
    rows: int
    decides_one: bool  # the model itself answers all rows alike

    @property
    def is_no_better(self) -> bool:
        """Whether the constant answer does as well."""
        if self.metric in LESS_IS_BETTER:
            return self.original >= self.constant
        return self.original <= self.constant


def compare_with_constant(answers: Answers, rows: Rows) -> ConstantComparison | None:
    """Compare by accuracy, where there is a positive class by balanced accuracy; None where these rows cannot tell.

    A constant answer has a balanced accuracy of one half, however rare the positive class and wherever the operating
    point: a model that is set to catch nearly all positives may well be right less often than one that catches none.
    Rows of one class, or fewer than ten, cannot tell.
    """
    labels = rows.labels
    if labels is None or len(labels) < FEWEST_ROWS:
        return None
    counts = np.bincount(labels, minlength=len(rows.classes))
    if (counts > 0).sum() < 2:
        return None
    metric = "accuracy" if rows.positive is None else "balanced_accuracy"
    original = METRICS[metric](answers, labels, rows.positive)
    if original is None:
        return None
    largest = int(counts.argmax())
    constant = float(counts[largest] / len(labels)) if rows.positive is None else _EITHER
    alike = len(np.unique(answers.decisions)) == 1
    return ConstantComparison(metric, original, constant, rows.classes[largest], len(labels), alike)


# Those that need a class of their own come with `data.positive`.
_OF_ALL = ("accuracy", "balanced_accuracy", "auroc", "brier")
_OF_POSITIVE = ("accuracy", "sensitivity", "specificity", "auroc", "brier")
# They have one class for a denominator: with few cases of it they tell of those.
BY_CLASS = ("sensitivity", "specificity", "auroc", "balanced_accuracy")


@dataclass(frozen=True)
class SliceMetrics:
    """Both models on one slice: all rows (`group` and `value` are ""), or a subgroup's value.

    `cases` are rows, `units` what of them counts as one by `split.by`; `smallest` the cases of the rarest class that is
    there. A metric is None where these rows do not define it, or it is not shown.
    """

    group: str
    value: str
    cases: CaseCount
    units: CaseCount
    smallest: CaseCount
    original: Mapping[str, float | None]
    candidate: Mapping[str, float | None]


def slice_metrics(evidence: Evidence) -> tuple[SliceMetrics, ...]:
    """Compute both models' metrics on all rows, then on each value of each subgroup; empty without labels.

    Accuracy, sensitivity and specificity for `data.positive`, else balanced accuracy, AUROC (Mann and Whitney) and
    Brier score; a slice without a case is left out.
    """
    if evidence.cases is not None:
        parts = (_of_cases(evidence.cases, *slice_rows) for slice_rows in _slices(evidence) if slice_rows[2].any())
        return (*parts, *_of_objects(evidence.cases))
    if evidence.rows.labels is None or evidence.original is None or evidence.candidate is None:
        return ()
    return tuple(_on(evidence, *slice_rows) for slice_rows in _slices(evidence) if slice_rows[2].any())


def _of_cases(cases: "CaseAnswers", group: str, value: str, chosen: np.ndarray) -> SliceMetrics:
    count, units = int(chosen.sum()), len(np.unique(cases.rows.units[chosen]))
    return SliceMetrics(group, value, count, units, count, *cases.figures(np.flatnonzero(chosen)))


def _of_objects(cases: "CaseAnswers") -> Iterator[SliceMetrics]:
    """Yield a slice for each class of masks or boxes, of the images that have it in a label or an answer."""
    if TASKS[cases.task].label not in ("mask", "boxes"):
        return
    every, rows = np.arange(len(cases.rows)), cases.rows
    metric = TASKS[cases.task].of_groups
    for name in rows.classes:
        try:
            weights = cases.scores(metric, every, name).weights
        except Unassessable:
            continue
        held = every if weights is None else np.flatnonzero(weights)
        units = len(np.unique(rows.units[held]))
        yield SliceMetrics("class", name, len(held), units, len(held), *cases.figures(every, name))


def _slices(evidence: Evidence) -> Iterator[tuple[str, str, np.ndarray]]:
    rows = evidence.rows
    yield "", "", np.ones(len(rows), bool)
    for group, values in rows.subgroup_values.items():
        for place, value in enumerate(values):
            yield group, value, rows.subgroups[group] == place


def _on(evidence: Evidence, group: str, value: str, chosen: np.ndarray) -> SliceMetrics:
    rows = evidence.rows
    labels = np.zeros(0, np.int64) if rows.labels is None else rows.labels[chosen]
    names = _OF_ALL if rows.positive is None else _OF_POSITIVE
    figures = [
        {name: METRICS[name](answers.of(chosen), labels, rows.positive) for name in names}
        for answers in (evidence.original, evidence.candidate)
        if answers is not None
    ]
    counts = np.bincount(labels)
    units = len(np.unique(rows.units[chosen]))
    return SliceMetrics(group, value, len(labels), units, int(counts[counts > 0].min()), *figures)

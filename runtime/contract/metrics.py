"""Metrics of one model's answers against the labels; None where the cases do not define one."""

from collections.abc import Callable, Mapping

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.statistics.auroc import midranks
from titrant.runtime.values import Rows
from titrant.schema.values.frozen import dataclass

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

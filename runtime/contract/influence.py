"""Write a metric of all rows as a mean of one number a row, so that what its rows could do bounds the metric."""

from dataclasses import dataclass

import numpy as np

from titrant.runtime.contract.evidence import SliceAnswers
from titrant.runtime.contract.statistics.compared import ComparedMeans, compare_means
from titrant.runtime.contract.statistics.means import resampled_counts


@dataclass(frozen=True)
class Influence:
    """One model's metric: `table` (classes, classes) is what a row of a class adds to the mean, by its decision."""

    value: float
    table: np.ndarray

    def of(self, labels: np.ndarray, decisions: np.ndarray) -> np.ndarray:
        """Return one number a row (rows,), whose mean is the metric."""
        rows: np.ndarray = self.table[labels, decisions]
        return rows


def influence(metric: str, decisions: np.ndarray, labels: np.ndarray, count: int, positive: int | None) -> Influence:
    """Expand a metric of `count` classes at the rows that were seen; `labels` and `decisions` are (rows,).

    A ratio of sums A / B becomes A/B + (a - b A/B) n / B, its linear term (the influence function of Hampel 1974, the
    delta method). Balanced accuracy is linear already, given how many rows a class has.
    """
    if metric == "balanced_accuracy":
        held = np.bincount(labels, minlength=count)
        weights = np.where(held > 0, len(labels) / np.maximum(held, 1), 0.0) / (held > 0).sum()
        table = np.diag(weights)
    else:
        classes = np.unique(labels) if positive is None else [positive]
        tables = [_of_class(metric, index, decisions, labels, count) for index in classes]
        table = np.mean([table for table in tables if table is not None], axis=0)
    return Influence(float(table[labels, decisions].mean()), table)


def _of_class(metric: str, index: int, decisions: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray | None:
    """Return the table of precision or F1 of one class; None where there is nothing of it."""
    actual, decided = np.zeros((count, count)), np.zeros((count, count))
    actual[index, :], decided[:, index] = 1.0, 1.0
    above, below = (actual * decided, decided) if metric == "precision" else (2 * actual * decided, actual + decided)
    total = float(below[labels, decisions].sum())
    if not total:
        return None
    value = float(above[labels, decisions].sum()) / total
    table: np.ndarray = value + (above - below * value) * (len(labels) / total)
    return table


def compare_metrics(metric: str, comparison: str, cases: SliceAnswers, confidence: float) -> ComparedMeans:
    """Bound a metric, or how it changed, by what a row of each class that is there could add to it at worst."""
    first, second = (
        influence(metric, answers.decisions, cases.labels, len(cases.classes), cases.positive)
        for answers in (cases.original, cases.candidate)
    )
    present = np.unique(cases.labels)
    ends = [np.stack([model.table[present].min(axis=1), model.table[present].max(axis=1)]) for model in (first, second)]
    corners = np.stack([np.repeat(ends[0], 2, axis=0), np.tile(ends[1], (2, 1))], axis=-1).reshape(-1, 2)
    values = [model.of(cases.labels, answers.decisions) for model, answers in zip(
        (first, second), (cases.original, cases.candidate), strict=True)]  # fmt: skip
    return compare_means(comparison, values[0], values[1], cases.units, confidence=confidence, corners=corners)


def of_counts(
    metric: str, counts: np.ndarray, labels: np.ndarray, decisions: np.ndarray, positive: int | None
) -> np.ndarray:
    """Compute a metric from how often each kind of row is there, (resamples, kinds); NaN where it is not defined.

    `labels` and `decisions` (kinds,) say what a kind is.
    """
    values = []
    classes = np.unique(labels) if positive is None or metric == "balanced_accuracy" else np.array([positive])
    for index in classes:
        actual, decided = labels == index, decisions == index
        right, held, called = (counts[:, chosen].sum(axis=1) for chosen in (actual & decided, actual, decided))
        above, below = {
            "balanced_accuracy": (right, held), "precision": (right, called), "f1": (2 * right, held + called),
        }[metric]  # fmt: skip
        with np.errstate(invalid="ignore"):
            values.append(above / below)
    answer: np.ndarray = np.mean(values, axis=0)
    return answer


def resample(metric: str, cases: SliceAnswers, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the metric of the original and of the candidate in 2,000 resamples of the rows, (2000,) each."""
    kinds, counts = np.unique(
        np.stack([cases.labels, cases.original.decisions, cases.candidate.decisions]), axis=1, return_counts=True
    )
    drawn = resampled_counts(counts, np.random.default_rng(seed))
    before, after = (of_counts(metric, drawn, kinds[0], kinds[model], cases.positive) for model in (1, 2))
    return before, after


def fewest_changed(metric: str, cases: SliceAnswers, reference: np.ndarray) -> int:
    """Count the units whose decision is not that of `reference` (rows,), in the class that has fewest of them.

    The classes are those that the metric reads: the positive one and all others, or every one that is there.
    """
    labels = cases.labels if cases.positive is None or metric == "balanced_accuracy" else cases.labels == cases.positive
    changed = cases.candidate.decisions != reference
    return min(len(np.unique(cases.units[changed & (labels == index)])) for index in np.unique(labels))

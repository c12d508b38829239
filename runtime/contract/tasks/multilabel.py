"""Several labels a case, each of which it has or has not."""

from collections.abc import Callable
from typing import Self

import numpy as np

from titrant.runtime.contract.tasks.cases import CaseAnswers, JudgedOutput, made_up, misfit
from titrant.runtime.contract.tasks.scores import CaseScores, Unassessable
from titrant.runtime.values import Rows

# From here on a label is taken to be there.
THRESHOLD = 0.5
_ROUNDING = 1e-3


class MultilabelAnswers(CaseAnswers):
    """Labels, each with a probability of its own: `original` and `candidate` (rows, labels), 0 to 1.

    A label is decided from one half on. What is about one label alone (sensitivity, AUROC) is judged as a task of two
    classes: see `one_label`.
    """

    task = "multilabel_classification"

    def __init__(self, rows: Rows, original: np.ndarray, candidate: np.ndarray) -> None:
        super().__init__(rows)
        if rows.targets is None:
            raise Unassessable("there are no labels")
        self._has = rows.targets == 1
        self._original, self._candidate = original, candidate

    @classmethod
    def read(cls, rows: Rows, output: JudgedOutput) -> Self:
        """Read logits or probabilities, (rows, labels); StepError X420 where they are not as many as the labels."""
        return cls(rows, *(label_probabilities(rows, output.name, output.kind, values)
                           for values in (output.original, output.candidate)))  # fmt: skip

    def scores(self, metric: str, chosen: np.ndarray, class_name: str = "") -> CaseScores:
        """Return what is right of a case's labels, whether all are, or what it adds to the mean F1 of the labels."""
        if class_name:
            raise Unassessable(f"{metric} is about all labels")
        has = self._has[chosen]
        decisions = [values[chosen] >= THRESHOLD for values in (self._original, self._candidate)]
        low, high, unseen = 0.0, 1.0, ""
        if metric == "macro_f1":
            parts = [_F1Parts(has, decided) for decided in decisions]
            old, new = (part.scores for part in parts)
            low, high = min(part.low for part in parts), max(part.high for part in parts)
            gone = ~has.any(axis=0)
            names = [name for name, nowhere in zip(self.rows.classes, gone, strict=True) if nowhere]
            unseen = made_up(names, decisions[0][:, gone], decisions[1][:, gone])
        elif metric == "gain_over_constant":
            constant = has == (has.mean(axis=0) >= THRESHOLD)
            old, new = (_share_right(decided == has) - _share_right(constant) for decided in decisions)
            low = -1.0
        else:
            of_case: Callable[[np.ndarray], np.ndarray] = _all_right if metric == "exact_match" else _share_right
            old, new = (of_case(decided == has) for decided in decisions)
        changed = np.asarray((decisions[0] != decisions[1]).any(axis=1))
        return CaseScores(metric, old, new, self.rows.units[chosen], low, high, changed=changed, unseen=unseen)

    def shown(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which labels each case has, 0 or 1, and both models' probabilities of each; (rows, labels) float64."""
        return self._has.astype(np.float64), self._original, self._candidate

    def one_label(self, name: str) -> tuple[Rows, np.ndarray, np.ndarray]:
        """Return the rows as those of two classes, without and with one label, and both models' probabilities of it.

        Probabilities are (rows,) each. Unassessable when there is no such label.
        """
        if name not in self.rows.classes:
            raise Unassessable(f"there is no label {name}")
        place = self.rows.classes.index(name)
        rows = Rows(
            role=self.rows.role,
            inputs={},
            labels=self._has[:, place].astype(np.int64),
            units=self.rows.units,
            ids=self.rows.ids,
            classes=(f"without {name}", name),
            positive=1,
            subgroups=self.rows.subgroups,
            subgroup_values=self.rows.subgroup_values,
        )
        return rows, self._original[:, place], self._candidate[:, place]

    def permuted(self, order: np.ndarray) -> "MultilabelAnswers":
        """Give every row the original's answer to another one."""
        return MultilabelAnswers(self.rows, self._original, self._original[order])

    def broken(self, rows: np.ndarray, class_name: str = "") -> "MultilabelAnswers":  # noqa: ARG002 - a case is broken whole
        """Answer some rows wrongly, as surely as may be, in every label."""
        wrong = np.where(self._has, 0.0, 1.0)
        return MultilabelAnswers(self.rows, self._original, np.where(rows[:, None], wrong, self._original))

    def constant(self) -> "tuple[MultilabelAnswers, str]":
        """Answer that every label is there that any case has, of which no constant has a better mean F1."""
        there = np.broadcast_to(self._has.any(axis=0), self._original.shape)
        return MultilabelAnswers(self.rows, self._original, there.astype(np.float64)), "every label"

    @property
    def identical(self) -> bool:
        """Whether both models give the same probabilities."""
        return np.array_equal(self._original, self._candidate)


def label_probabilities(rows: Rows, name: str, kind: str, values: np.ndarray) -> np.ndarray:
    """Return the probability of each label, (rows, labels) float64, of logits or probabilities."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    if flat.shape[1] != len(rows.classes):
        raise misfit(f"the output '{name}' has {flat.shape[1]} numbers a case for {len(rows.classes)} labels")
    if kind == "logits":
        return np.asarray(1 / (1 + np.exp(-np.clip(flat, -700, 700))))
    if kind != "probabilities":
        raise misfit(f"the output '{name}' is said to hold {kind}, and a label cannot be decided from those")
    if np.any(flat < -_ROUNDING) or np.any(flat > 1 + _ROUNDING):
        raise misfit(f"the output '{name}' is said to hold probabilities, and some are outside 0..1")
    return flat


def label_decisions(rows: Rows, name: str, kind: str, values: np.ndarray) -> np.ndarray:
    """Return which labels are taken to be there, (rows, labels) bool, of logits or probabilities."""
    return np.asarray(label_probabilities(rows, name, kind, values) >= THRESHOLD)


def _all_right(right: np.ndarray) -> np.ndarray:
    return np.asarray(right.all(axis=1), np.float64)


def _share_right(right: np.ndarray) -> np.ndarray:
    return np.asarray(right.mean(axis=1))


class _F1Parts:
    """What each case adds to the mean F1 of the labels, and the least and the most that one could.

    F1 is no mean over cases: of a label it is 2 TP / (P + Q), with P cases that have it and Q that are said to. To the
    first order a case adds (2 tp - F1 (p + q)) / mean(p + q), whose mean is 0: the influence function (Hampel 1974). A
    label that no case has, and none is said to have, is left out.
    """

    def __init__(self, has: np.ndarray, decided: np.ndarray) -> None:
        both, either = has & decided, has.astype(np.float64) + decided
        spread = either.mean(axis=0)
        there = np.asarray(has.any(axis=0))
        if not there.any():
            raise Unassessable("no case has any label")
        f1 = np.zeros(len(there))
        f1[there] = 2 * both.mean(axis=0)[there] / spread[there]
        added = (2 * both[:, there] - f1[there] * either[:, there]) / spread[there]
        self.scores: np.ndarray = (f1[there] + added).mean(axis=1)
        self.low = float((f1[there] - f1[there] / spread[there]).mean())
        self.high = float((f1[there] + (2 - 2 * f1[there]) / spread[there]).mean())

"""Both models' answers to the cases of a task, as scores: of all of them, of a slice, and of answers to be refused."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from titrant.runtime.contract.statistics.special import binomial_above
from titrant.runtime.contract.tasks.scores import CaseScores, Unassessable
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.recipe.tasks import CASE_METRICS, TASKS, OutputKind

_CHANCE = 0.05


@dataclass(frozen=True)
class JudgedOutput:
    """The output that a task judges, of both models: its name, what it holds, and (rows, …) of each.

    `score` is that from which on a box counts.
    """

    name: str
    kind: OutputKind
    original: np.ndarray
    candidate: np.ndarray
    score: float = 0.5


class CaseAnswers(ABC):
    """The answers of an original and a candidate to rows of one task.

    A subclass is one task: it says what each case scores by each of the task's metrics, and what the worst and the best
    constant answers are.
    """

    task: str

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @classmethod
    @abstractmethod
    def read(cls, rows: Rows, output: JudgedOutput) -> Self:
        """Read both models' answers; StepError X420 where they do not fit the labels."""

    @abstractmethod
    def scores(self, metric: str, chosen: np.ndarray, class_name: str = "") -> CaseScores:
        """Return what the chosen cases (places, one or more) score by a metric, of one class where one is named.

        Unassessable where the metric is not defined for them.
        """

    @abstractmethod
    def permuted(self, order: np.ndarray) -> "CaseAnswers":
        """Return these answers with the original's in another order, (rows,) places, as the candidate's."""

    @abstractmethod
    def broken(self, rows: np.ndarray, class_name: str = "") -> "CaseAnswers":
        """Return these answers with the original's as the candidate's, but the worst there is for rows (rows,) bool.

        The worst of one class where one is named.
        """

    @abstractmethod
    def constant(self) -> "tuple[CaseAnswers, str] | None":
        """Return these answers with the best constant one as the candidate's, and it in words; None where none is."""

    def without(self, class_name: str = "") -> "CaseAnswers | None":  # noqa: ARG002 - of tasks that find objects
        """Return these answers with the original's as the candidate's, but without objects, or those of one class.

        None where answers have no objects, or every class is one. Unassessable where there is no such class.
        """
        return None

    @property
    @abstractmethod
    def identical(self) -> bool:
        """Whether every number of both models' answers is the same, bit for bit."""

    def shown(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return the labels and what either model answers, (rows, …) each; None where these have no fixed shape.

        It is what a metric of the user's own is called with.
        """
        return None

    def figures(
        self, chosen: np.ndarray, class_name: str = ""
    ) -> tuple[Mapping[str, float | None], Mapping[str, float | None]]:
        """Return each metric that follows from scores on the chosen cases, of the original and of the candidate."""
        before: dict[str, float | None] = {}
        after: dict[str, float | None] = {}
        for metric in TASKS[self.task].metrics:
            if metric not in CASE_METRICS:
                continue
            try:
                scores = self.scores(metric, chosen, class_name)
            except Unassessable:
                before[metric] = after[metric] = None
                continue
            before[metric], after[metric] = scores.before, scores.after
        return before, after


def made_up(names: Sequence[str], original: np.ndarray, candidate: np.ndarray) -> str:
    """Say which classes, of those that no case has, the candidate gives to more cases than the original; "" for none.

    A metric that is a mean over the classes that are there leaves them out, so that all cases may be given one. Counts
    are (cases, classes); an exact sign test each, at 5 % over all of them (Bonferroni).
    """
    rises, falls = (candidate > original).sum(axis=0), (candidate < original).sum(axis=0)
    for place, name in enumerate(names):
        more, changed = int(rises[place]), int(rises[place] + falls[place])
        if more and binomial_above(more - 1, changed, 0.5) <= _CHANCE / len(names):
            before, after = (int((counts[:, place] > 0).sum()) for counts in (original, candidate))
            return f"no case has {name}, which is left out here, and {after:,} are given it, by the original {before:,}"
    return ""


def misfit(
    message: str, advice: str = "model.output names the output to judge and says what its numbers are"
) -> StepError:
    """Return the error of an output that does not fit."""
    return StepError(Diagnostic("X420", message, help=advice))

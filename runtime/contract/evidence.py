"""What judging one candidate looks at: both models' answers, its figures, and the cases that a gate selects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.values import Rows

# Metrics of one class against the rest: "class X" names the class for them; for others it selects the rows.
OF_A_CLASS = ("sensitivity", "specificity", "precision", "f1", "auroc", "kept")


class Unassessable(Exception):  # noqa: N818 - not an error: the gate answers INCONCLUSIVE with this reason
    """Why a gate cannot be computed on these cases, as a clause for a person."""


@dataclass(frozen=True)
class Evidence:
    """Both models' answers on the evaluation rows, and what was measured of the candidate.

    `original` and `candidate` are None without labels. `alike` (rows,) bool: the same decision, or without labels the
    same answer. `figures` is the candidate's entry of the joint timing, `original_figures` the
    original's, `size` the bytes of the candidate's file.
    """

    rows: Rows
    original: Answers | None
    candidate: Answers | None
    alike: np.ndarray
    confidence: float = 0.95
    figures: Mapping[str, Any] | None = None
    original_figures: Mapping[str, Any] | None = None
    timing_batch: int = 1
    size: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class SliceAnswers:
    """Both models' answers on some cases; arrays are (rows,), `positive` a class index or None."""

    labels: np.ndarray
    units: np.ndarray
    original: Answers
    candidate: Answers
    alike: np.ndarray
    positive: int | None
    classes: tuple[str, ...]
    words: str  # "", " in class X", " in subgroup G.v"

    @property
    def positive_name(self) -> str:
        """The class that a metric of one class is about."""
        return "positive" if self.positive is None else self.classes[self.positive]


def slice_answers(evidence: Evidence, metric: str, name: str) -> SliceAnswers:
    """Select "all", "class X" or "subgroup G.value"; Unassessable when there is no such class, group or case."""
    rows = evidence.rows
    if rows.labels is None or evidence.original is None or evidence.candidate is None:
        raise Unassessable("there are no labels")
    positive = rows.positive
    if name.startswith("class ") and metric in OF_A_CLASS:
        positive, name = class_index(evidence, name), "all"
    chosen, words = select(evidence, name)
    return SliceAnswers(
        rows.labels[chosen], rows.units[chosen], evidence.original.of(chosen), evidence.candidate.of(chosen),
        evidence.alike[chosen], positive, rows.classes, words,
    )  # fmt: skip


def select(evidence: Evidence, name: str) -> tuple[np.ndarray, str]:
    """Return which rows a slice holds, (rows,) bool, and its words; Unassessable when it holds none."""
    rows = evidence.rows
    kind, _, rest = name.partition(" ")
    words = ""
    chosen: np.ndarray = np.ones(len(rows), bool)
    if kind == "class":
        chosen, words = np.asarray(rows.labels == class_index(evidence, name)), f" in class {rest}"
    elif kind == "subgroup":
        chosen, words = in_subgroup(evidence, rest), f" in {rest}"
    if not chosen.any():
        raise Unassessable("there are no cases" + words)
    return chosen, words


def class_index(evidence: Evidence, name: str) -> int:
    """Return the class that a slice "class X" names; Unassessable when there is no such class."""
    class_name = name.removeprefix("class ")
    if evidence.rows.labels is None or class_name not in evidence.rows.classes:
        raise Unassessable(f"there is no class {class_name}")
    return evidence.rows.classes.index(class_name)


def in_subgroup(evidence: Evidence, name: str) -> np.ndarray:
    """Return which cases are in a subgroup "group.value", (rows,) bool."""
    group, _, value = name.partition(".")
    values = evidence.rows.subgroup_values.get(group, ())
    if value not in values:
        raise Unassessable(f"there is no subgroup {name}")
    chosen: np.ndarray = evidence.rows.subgroups[group] == values.index(value)
    return chosen


def pair_of(name: str) -> tuple[str, str]:
    """Split "subgroup G.a / G.b" into the slices of both subgroups."""
    first, _, second = name.removeprefix("subgroup ").partition(" / ")
    return f"subgroup {first}", f"subgroup {second}"

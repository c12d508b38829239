"""What judging one candidate looks at: both models' answers, its figures, and the cases that a gate selects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.tasks.cases import CaseAnswers
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.values import Rows
from titrant.schema.contract.earlier import WHOSE
from titrant.schema.gate import CALIBRATION_INTERCEPT, CALIBRATION_SLOPE, FINE_TUNED, Gate
from titrant.schema.values.slice import ALL, Slice

# Metrics of one class against the rest: a slice of a class names the class for them; for others it selects the rows.
OF_A_CLASS = (
    "sensitivity", "specificity", "precision", "f1", "auroc", "kept", CALIBRATION_SLOPE, CALIBRATION_INTERCEPT,
)  # fmt: skip


@dataclass(frozen=True)
class Unlabeled:
    """Both models' answers to further rows; `labels` (rows,) int64, the class of a row that has a label, else -1."""

    rows: Rows
    original: Answers
    candidate: Answers
    labels: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """Both models' answers on the evaluation rows, and what was measured of the candidate.

    `original` and `candidate` are None without labels. `alike` (rows,) bool: the same decision, or without labels the
    same answer. `invariance` is what asking for some rows again, alone and in other company, gave
    (validate.batch_invariance). `figures` is the candidate's entry of the joint timing, `original_figures` the
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
    invariance: Mapping[str, Any] | None = None
    executed: Mapping[str, Any] | None = None  # what the engine runs of the candidate's file (validate.executed)
    always_valid: bool = False  # bounds hold however often rows are added and judged (validation.looks: open)
    unlabeled: Unlabeled | None = None
    fine_tuned: "Evidence | None" = None  # the same candidate beside the original after the training that it had
    stratified: bool = False  # tests are stratified by the subgroup STRATA of the rows (data.strata)
    named_from: int = 0  # of fewer units a stratum is not named as harmed (report.min_cell)
    cases: CaseAnswers | None = None  # of a task whose answers are no classes, where there are labels
    # The same candidate beside an earlier release, by the preset of the rows: its answers, figures and bytes.
    earlier: "Mapping[str, Evidence]" = field(default_factory=dict)
    original_size: int | None = None  # bytes of what it is compared with, where that is an earlier release
    permuted_alike: np.ndarray | None = None  # without labels: as `alike`, of the original's answers in another order
    # Which rows a slice holds, for all answers to them.
    places: dict[Slice, tuple[np.ndarray, str]] = field(default_factory=dict, repr=False, compare=False)
    # What was selected or made of these answers before; other answers begin anew.
    made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)


def beside(gate: Gate, evidence: Evidence) -> Evidence:
    """Return the evidence beside the model that a gate compares with: the original unless its preset says otherwise.

    Raises Unassessable where that model was not answered.
    """
    if gate.preset not in (FINE_TUNED, *WHOSE):
        return evidence
    if gate.preset == FINE_TUNED:
        if evidence.fine_tuned is None:
            raise Unassessable("the fine-tuned original was not answered")
        return evidence.fine_tuned
    if gate.preset not in evidence.earlier:
        raise Unassessable("the earlier release was not answered")
    return evidence.earlier[gate.preset]


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
    # Of these cases among all rows.
    places: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def positive_name(self) -> str:
        """The class that a metric of one class is about."""
        return "positive" if self.positive is None else self.classes[self.positive]


def slice_answers(evidence: Evidence, metric: str, cases: Slice) -> SliceAnswers:
    """Select the cases of a slice; Unassessable when there is no such class, group or case."""
    rows = evidence.rows
    if rows.labels is None or evidence.original is None or evidence.candidate is None:
        raise Unassessable("there are no labels")
    positive = rows.positive
    if cases.kind == "class" and metric in OF_A_CLASS:
        positive, cases = class_index(evidence, cases.class_name), ALL
    key = ("slice", cases, positive)
    if key not in evidence.made:
        if cases not in evidence.places:
            held, words = select(evidence, cases)
            evidence.places[cases] = np.flatnonzero(held), words
        chosen, words = evidence.places[cases]
        evidence.made[key] = SliceAnswers(
            rows.labels[chosen], rows.units[chosen], evidence.original.of(chosen), evidence.candidate.of(chosen),
            evidence.alike[chosen], positive, rows.classes, words, chosen,
        )  # fmt: skip
    answers: SliceAnswers = evidence.made[key]
    return answers


def select(evidence: Evidence, cases: Slice) -> tuple[np.ndarray, str]:
    """Return which rows a slice holds, (rows,) bool, and its words; Unassessable when it holds none."""
    rows = evidence.rows
    words = ""
    chosen: np.ndarray = np.ones(len(rows), bool)
    if cases.kind == "class":
        chosen = np.asarray(rows.labels == class_index(evidence, cases.class_name))
        words = f" in class {cases.class_name}"
    elif cases.kind == "subgroup":
        chosen, words = in_subgroup(evidence, cases), f" in {cases.subgroup}"
    if not chosen.any():
        raise Unassessable("there are no cases" + words)
    return chosen, words


def class_index(evidence: Evidence, class_name: str) -> int:
    """Return the index of a class; Unassessable when there is no such class."""
    if evidence.rows.labels is None or class_name not in evidence.rows.classes:
        raise Unassessable(f"there is no class {class_name}")
    return evidence.rows.classes.index(class_name)


def in_subgroup(evidence: Evidence, cases: Slice) -> np.ndarray:
    """Return which cases are in a subgroup, (rows,) bool."""
    if cases.other is not None:
        raise Unassessable("it names two values of a subgroup, and its test looks at one")
    values = evidence.rows.subgroup_values.get(cases.group, ())
    if cases.value not in values:
        raise Unassessable(f"there is no subgroup {cases.subgroup}")
    chosen: np.ndarray = evidence.rows.subgroups[cases.group] == values.index(cases.value)
    return chosen

"""Boxes against boxes: what each image scores at one threshold, and average precision of a set of images."""

from dataclasses import replace
from functools import cached_property
from typing import Self

import numpy as np

from titrant.runtime.contract.tasks.average_precision import (
    ClassMatches,
    average_precision,
    match_boxes,
    matched_counts,
)
from titrant.runtime.contract.tasks.boxes import BOX_NUMBERS, CLASS, FILLING, SCORE, for_every_row, widened
from titrant.runtime.contract.tasks.cases import CaseAnswers, JudgedOutput, made_up, misfit
from titrant.runtime.contract.tasks.scores import CaseScores, Unassessable
from titrant.runtime.values import Rows
from titrant.schema.recipe.tasks import SET_METRICS, TASKS

# Images whose labels are tried as the one answer to all images.
_CONSTANTS = 32


class DetectionAnswers(CaseAnswers):
    """Boxes for boxes: `original` and `candidate` (rows, most, 6), filled up with -1, beside the labels.

    box_f1 of an image is 2 right / (found + labeled), of the boxes that have `score` or more and overlap a label of
    their class by half; an image without boxes, in the labels and in both answers, is left out.
    """

    task = "detection"

    def __init__(self, rows: Rows, original: np.ndarray, candidate: np.ndarray, score: float) -> None:
        super().__init__(rows)
        if rows.targets is None:
            raise Unassessable("there are no labels")
        self._labels, self._score = rows.targets, score
        self._original, self._candidate = original, candidate

    @classmethod
    def read(cls, rows: Rows, output: JudgedOutput) -> Self:
        """Read both models' boxes; StepError X420 where they are none, or of a class that the labels do not have."""
        old, new = (_boxes(rows, output.name, values) for values in (output.original, output.candidate))
        return cls(rows, old, new, output.score)

    @property
    def _classes(self) -> int:
        return len(self.rows.classes)

    @cached_property
    def before(self) -> tuple[ClassMatches, ...]:
        """The original's boxes, matched with the labels, by class."""
        return match_boxes(self._labels, self._original, self._classes)

    @cached_property
    def after(self) -> tuple[ClassMatches, ...]:
        """The candidate's."""
        if self._candidate is self._original:
            return self.before
        return match_boxes(self._labels, self._candidate, self._classes)

    def scores(self, metric: str, chosen: np.ndarray, class_name: str = "") -> CaseScores:
        """Return what each image scores, of all classes together or of one."""
        if metric == "box_f1_over_constant":
            return self._over_constant(chosen)
        if metric != "box_f1":
            raise Unassessable(f"{metric} is of a whole set of images, and no image has a part of its own")
        place = slice(None) if not class_name else self.class_place(class_name)
        old, new = (_f1(matched_counts(matches, self._score), place) for matches in (self.before, self.after))
        weights = (old[1] | new[1])[chosen]
        if not weights.any():
            raise Unassessable("no image has a box, in the labels or in the answers")
        return CaseScores(
            metric, old[0][chosen], new[0][chosen], self.rows.units[chosen], 0.0, 1.0,
            weights=weights.astype(np.float64),
        )  # fmt: skip

    def class_place(self, name: str) -> int:
        """Return the number of a class; Unassessable when there is none such."""
        if name not in self.rows.classes:
            raise Unassessable(f"there is no class {name}")
        return self.rows.classes.index(name)

    def unseen(self, inside: np.ndarray) -> str:
        """Say which class that none of some images (images,) bool has is found in more of them than by the original."""
        (_, before, labeled), (_, after, _) = (
            matched_counts(matches, self._score) for matches in (self.before, self.after)
        )
        gone = ~labeled[inside].any(axis=0)
        names = [name for name, nowhere in zip(self.rows.classes, gone, strict=True) if nowhere]
        return made_up(names, before[inside][:, gone], after[inside][:, gone])

    def _over_constant(self, chosen: np.ndarray) -> CaseScores:
        constant, _ = self.constant()
        beside = constant.scores("box_f1", chosen)
        above = beside.original - beside.candidate
        return replace(beside, metric="box_f1_over_constant", original=above, candidate=above, low=-1.0)

    def figures(
        self, chosen: np.ndarray, class_name: str = ""
    ) -> tuple[dict[str, float | None], dict[str, float | None]]:
        """Return every metric of the task on the chosen images, or of one class there, of original and candidate."""
        before, after = super().figures(chosen, class_name)
        both: tuple[dict[str, float | None], dict[str, float | None]] = ({**before}, {**after})
        weights = np.zeros((1, len(self.rows)), np.int64)
        weights[0, chosen] = 1
        places = slice(None) if not class_name else slice(place := self.class_place(class_name), place + 1)
        for figures, matches in zip(both, (self.before, self.after), strict=True):
            for metric in SET_METRICS:
                value = float(average_precision(matches[places], weights, at_half=metric.endswith("_50"))[0])
                figures[metric] = value if np.isfinite(value) else None
        order = [metric for metric in TASKS[self.task].metrics if metric in both[0]]
        return {name: both[0][name] for name in order}, {name: both[1][name] for name in order}

    def shown(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the labels (images, boxes, 5), NaN where there is none, and both models' (images, boxes, 6)."""
        return self._labels, self._original, self._candidate

    def permuted(self, order: np.ndarray) -> "DetectionAnswers":
        """Give every image the original's boxes in another one."""
        return self._with(self._original if (order == np.arange(len(order))).all() else self._original[order])

    def broken(self, rows: np.ndarray, class_name: str = "") -> "DetectionAnswers":
        """Find nothing in some images, and something in those where there is nothing."""
        worst = self._original.copy()
        worst[rows] = FILLING
        place = self.class_place(class_name) if class_name else 0
        about = self._labels[..., -1] == place if class_name else ~np.isnan(self._labels[..., 0])
        worst[rows & ~about.any(axis=1), 0] = (0.0, 0.0, 1.0, 1.0, 1.0, place)
        return self._with(worst)

    def without(self, class_name: str = "") -> "DetectionAnswers":
        """Leave all boxes out, or those of one class."""
        gone = self._original[..., CLASS] == self.class_place(class_name) if class_name else True
        return self._with(np.where(np.broadcast_to(gone, self._original.shape[:2])[..., None], FILLING, self._original))

    def constant(self) -> "tuple[DetectionAnswers, str]":
        """Answer every image with the labels of the one image that fit all of them best."""
        return self._constant

    @cached_property
    def _constant(self) -> "tuple[DetectionAnswers, str]":
        filled = ~np.isnan(self._labels[..., 0])
        tried = np.flatnonzero(filled.any(axis=1))
        if not len(tried):
            return self._with(np.full((len(self._labels), 1, BOX_NUMBERS), FILLING)), "no box"
        tried = tried[np.linspace(0, len(tried) - 1, min(len(tried), _CONSTANTS)).astype(np.int64)]
        answers = [for_every_row(self._labels[row][filled[row]], len(self._labels)) for row in tried]
        means = [self._mean(answer) for answer in answers]
        return self._with(answers[int(np.argmax(means))]), "the boxes of one image for all"

    def _mean(self, answer: np.ndarray) -> float:
        values, counted = _f1(
            matched_counts(match_boxes(self._labels, answer, self._classes, at_half=True), self._score), slice(None)
        )
        return float(values[counted].mean()) if counted.any() else 0.0

    def _with(self, candidate: np.ndarray) -> "DetectionAnswers":
        answers = DetectionAnswers(self.rows, self._original, candidate, self._score)
        for same in ("before", "_constant"):  # what no candidate changes is matched once
            if same in self.__dict__:
                answers.__dict__[same] = self.__dict__[same]
        return answers

    @property
    def differing(self) -> np.ndarray:
        """In which images the boxes of both models are not the same numbers, (rows,) bool."""
        if self._original.shape != self._candidate.shape:
            most = max(self._original.shape[1], self._candidate.shape[1])
            old, new = (widened(boxes, most) for boxes in (self._original, self._candidate))
        else:
            old, new = self._original, self._candidate
        answer: np.ndarray = (old != new).any(axis=(1, 2))
        return answer

    @property
    def identical(self) -> bool:
        """Whether both models give the same boxes."""
        return not self.differing.any()


def _f1(counts: tuple[np.ndarray, np.ndarray, np.ndarray], place: int | slice) -> tuple[np.ndarray, np.ndarray]:
    """Return the F1 of each image over some classes, and whether there is any box; right, found and labeled counts."""
    right, given, labeled = (part[:, place].reshape(len(part), -1).sum(axis=1) for part in counts)
    boxes = given + labeled
    # Nothing where there is nothing is right.
    return np.where(boxes > 0, 2 * right / np.maximum(boxes, 1), 1.0), boxes > 0


def _boxes(rows: Rows, name: str, boxes: np.ndarray) -> np.ndarray:
    if boxes.ndim != 3 or boxes.shape[2] != BOX_NUMBERS:
        raise misfit(f"the output '{name}' has shape {boxes.shape}, and {len(rows)} cases need (rows, boxes, 6)")
    highest = int(boxes[..., CLASS][boxes[..., SCORE] >= 0].max(initial=0))
    if highest >= len(rows.classes):
        message = f"model.decode gives the class {highest}, and the labels have {len(rows.classes)} classes, from 0"
        raise misfit(message, "let it number classes from 0, or list every class in data.classes")
    return boxes

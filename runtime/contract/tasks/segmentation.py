"""Masks against masks: overlap and distance of each class in each image."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from titrant.runtime.contract.tasks.cases import CaseAnswers, JudgedOutput, misfit
from titrant.runtime.contract.tasks.masks import areas, counted_classes, dice_by_class, masks_of, outline_distances
from titrant.runtime.contract.tasks.scores import CaseScores, Unassessable
from titrant.runtime.values import Rows

_DISTANCES = ("surface_distance", "hausdorff_95")
# The class of this name is not counted; without names it is the first one.


@dataclass(frozen=True)
class _Scores:
    """One model's scores by class, (rows, classes), and which classes its masks or the labels have."""

    values: np.ndarray
    present: np.ndarray


class SegmentationAnswers(CaseAnswers):
    """Masks for masks: `original` and `candidate` (rows, height, width), class numbers, beside the labels.

    A class is counted in an image where the label or either model's answer has it: an answer without it then scores 1
    if the label is without it too. In an image where none of them has it the class is left out, and so is an image
    without any object from the mean over classes.
    """

    task = "segmentation"

    def __init__(self, rows: Rows, original: np.ndarray, candidate: np.ndarray) -> None:
        super().__init__(rows)
        if rows.targets is None:
            raise Unassessable("there are no labels")
        self._labels = rows.targets
        self._original, self._candidate = original, candidate
        self._made_of_original: dict[str, _Scores] = {}
        self._made_of_candidate: dict[str, _Scores] = {}

    @classmethod
    def read(cls, rows: Rows, output: JudgedOutput) -> Self:
        """Read both models' outputs; StepError X420 where they do not fit the labels."""
        return cls(rows, *(_masks(rows, output, values) for values in (output.original, output.candidate)))

    @property
    def _classes(self) -> int:
        return len(self.rows.classes)

    @cached_property
    def _counted(self) -> np.ndarray:
        """Which classes are objects, (classes,) bool: not the background, which any answer has most of."""
        return counted_classes(self.rows.classes)

    def scores(self, metric: str, chosen: np.ndarray, class_name: str = "") -> CaseScores:
        """Return the mean over the classes that an image has, or the score of one class."""
        if metric == "dice_over_constant":
            return self._over_constant(chosen)
        old, new = self._by_class(metric, candidate=False), self._by_class(metric, candidate=True)
        classes = self._counted
        if class_name:
            classes = np.arange(self._classes) == self._place(class_name)
        counted = ((old.present | new.present) & classes)[chosen]
        weights = counted.any(axis=1)
        if not weights.any():
            raise Unassessable("no image has any of it, in the labels or in the answers")
        before, after = (
            (model.values[chosen] * counted).sum(axis=1) / np.maximum(counted.sum(axis=1), 1) for model in (old, new)
        )
        highest = self._diagonal if metric in _DISTANCES else 1.0
        return CaseScores(
            metric, before, after, self.rows.units[chosen], 0.0, highest, weights=weights.astype(np.float64)
        )

    def _over_constant(self, chosen: np.ndarray) -> CaseScores:
        """Return by how much each image's Dice is above that of the best constant mask."""
        constant, _ = self.constant()
        before = constant.scores("dice", chosen)
        above = before.original - before.candidate
        return replace(before, metric="dice_over_constant", original=above, candidate=above, low=-1.0)

    def _by_class(self, metric: str, *, candidate: bool) -> _Scores:
        made = self._made_of_candidate if candidate else self._made_of_original
        if metric not in made:
            masks = self._candidate if candidate else self._original
            if metric in _DISTANCES:
                scores = self._distances_of_candidate() if candidate else self._distances(masks)
                made.update(zip(_DISTANCES, scores, strict=True))
            else:
                dice, present = dice_by_class(self._labels, masks, self._classes)
                # IoU = Dice / (2 - Dice), of 1 and 0 as well.
                made["dice"] = _Scores(dice, present)
                made["iou"] = _Scores(dice / (2 - dice), present)
        return made[metric]

    def _distances_of_candidate(self) -> tuple[_Scores, _Scores]:
        """Return both distances of each class; of images that both models answer alike they are the original's."""
        mean, highest = (self._by_class(metric, candidate=False) for metric in _DISTANCES)
        distances, present = np.stack([mean.values, highest.values]), mean.present.copy()
        differ = (self._candidate != self._original).any(axis=(1, 2))
        return self._measured(self._candidate, np.flatnonzero(differ), distances, present)

    def _distances(self, masks: np.ndarray) -> tuple[_Scores, _Scores]:
        """Return both distances of each class: 0 in neither mask, the image's diagonal in one of them alone."""
        shape = len(masks), self._classes
        return self._measured(masks, np.arange(len(masks)), np.zeros((2, *shape)), np.zeros(shape, bool))

    def _measured(
        self, masks: np.ndarray, rows: np.ndarray, distances: np.ndarray, present: np.ndarray
    ) -> tuple[_Scores, _Scores]:
        """Measure some rows in place, and return all."""
        for row in rows:
            for place in range(self._classes):
                first, second = self._labels[row] == place, masks[row] == place
                distances[:, row, place] = 0.0
                present[row, place] = first.any() or second.any()
                if present[row, place]:
                    distances[:, row, place] = outline_distances(first, second) or (self._diagonal, self._diagonal)
        return _Scores(distances[0], present), _Scores(distances[1], present)

    @property
    def _diagonal(self) -> float:
        """The furthest that two pixels of an image can be apart."""
        return float(np.hypot(*(size - 1 for size in self._labels.shape[1:])))

    def shown(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the labels' masks and both models', (rows, height, width) class numbers each."""
        return self._labels, self._original, self._candidate

    def permuted(self, order: np.ndarray) -> "SegmentationAnswers":
        """Give every image the original's answer to another one."""
        return self._with(self._original[order])

    def broken(self, rows: np.ndarray, class_name: str = "") -> "SegmentationAnswers":
        """Answer some images with one class all over, of those with which no object is right where there is one."""
        if class_name:
            return self._with(np.where(rows[:, None, None], self._worst_of(class_name), self._original))
        sizes = areas(self._labels, self._classes)
        without_objects: np.ndarray = sizes[:, self._counted].sum(axis=1) == 0
        right = np.where(self._counted, sizes, np.where(without_objects[:, None], self._labels[0].size, 0))
        worst = np.broadcast_to(right.argmin(axis=1)[:, None, None], self._original.shape)
        return self._with(np.where(rows[:, None, None], worst, self._original))

    def without(self, class_name: str = "") -> "SegmentationAnswers | None":
        """Take objects, or one class, for the first of the other classes; None where every class is an object."""
        gone = self._counted if not class_name else np.arange(self._classes) == self._place(class_name)
        if gone.all():
            return None
        return self._with(np.where(gone[self._original], gone.argmin(), self._original))

    def _place(self, name: str) -> int:
        if name not in self.rows.classes:
            raise Unassessable(f"there is no class {name}")
        return self.rows.classes.index(name)

    def _worst_of(self, class_name: str) -> np.ndarray:
        """Return masks without a class where the label has it, and of nothing else where it does not."""
        place = self.rows.classes.index(class_name)
        there: np.ndarray = np.any(self._labels == place, axis=(1, 2))
        worst: np.ndarray = np.where(there, 1 if place == 0 else 0, place)
        return worst.reshape(-1, 1, 1)

    def constant(self) -> "tuple[SegmentationAnswers, str]":
        """Answer every image alike: one class all over, or the commonest class of each pixel, whichever is best."""
        return self._constant

    @cached_property
    def _constant(self) -> "tuple[SegmentationAnswers, str]":
        shape = self._labels.shape[1:]
        held = np.stack([(self._labels == place).sum(axis=0) for place in range(self._classes)])
        answers = {f"{name} everywhere": np.full(shape, place) for place, name in enumerate(self.rows.classes)}
        answers["the commonest class of each pixel"] = held.argmax(axis=0)
        means = {words: self._mean_against(mask) for words, mask in answers.items()}
        best = max(means, key=lambda words: means[words])
        return self._with(np.broadcast_to(answers[best], self._labels.shape)), best

    def _mean_against(self, mask: np.ndarray) -> float:
        """Return the mean Dice of one answer to all images, as `scores` has it."""
        dice, present = dice_by_class(self._labels, np.broadcast_to(mask, self._labels.shape), self._classes)
        counted = present & self._counted
        held = counted.any(axis=1)
        means = (dice * counted).sum(axis=1)[held] / counted.sum(axis=1)[held]
        return float(means.mean()) if held.any() else 0.0

    def _with(self, candidate: np.ndarray) -> "SegmentationAnswers":
        answers = SegmentationAnswers(self.rows, self._original, candidate)
        answers._made_of_original = self._made_of_original  # distances of outlines are most of what judging takes
        return answers

    @property
    def identical(self) -> bool:
        """Whether both models give the same masks."""
        return np.array_equal(self._original, self._candidate)


def _masks(rows: Rows, output: JudgedOutput, values: np.ndarray) -> np.ndarray:
    if rows.targets is None:
        raise Unassessable("there are no labels")
    name = output.name
    masks, classes = masks_of(values, output.kind), len(rows.classes)
    shape = rows.targets.shape[1:]
    if masks is None or masks.shape[1:] != shape:
        raise misfit(f"the output '{name}' is {values.shape[1:]} for each image, and the labels' masks are {shape}")
    channels = values.shape[1] if values.ndim == 4 else 1
    if channels not in (1, classes):
        raise misfit(f"the output '{name}' has {channels} channels for {classes} classes")
    highest = int(masks.max(initial=0))
    if channels == 1 and (highest >= classes or int(masks.min(initial=0)) < 0):
        raise misfit(f"the output '{name}' holds class {highest}, and the labels have {classes} classes")
    return masks

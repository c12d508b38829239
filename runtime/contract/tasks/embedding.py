"""Vectors beside vectors: how far each has turned, and whether its nearest neighbor is kept, and belongs to it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from titrant.runtime.contract.tasks.cases import CaseAnswers, JudgedOutput, misfit
from titrant.runtime.contract.tasks.scores import CaseScores, Unassessable
from titrant.runtime.values import Rows

# With two rows the other one is always the nearest.
FEWEST = 3
# Similarities that differ by less are ties: they are sums of products of unit vectors, in 64 bits.
_TIE = 1e-12
# Rows of similarities that are held at once, of float64 against all others.
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Neighbors:
    """The nearest other row of each row, (rows,): the first of `ties` equally near ones.

    `relevant` (rows,) is the share of these that belong to the row's group, None without groups.
    """

    nearest: np.ndarray
    ties: np.ndarray
    relevant: np.ndarray | None


@dataclass(frozen=True)
class _Alike:
    """How a candidate's embedding of each row compares with the original's; all (rows,)."""

    cosine: np.ndarray
    kept: np.ndarray  # share of the nearest neighbors of either model that are those of both
    relevant: np.ndarray | None
    identical: bool = False  # bit for bit


class EmbeddingAnswers(CaseAnswers):
    """The embeddings of two models; a case is a row among all rows, whatever slice is judged.

    A row's neighbor depends on the other rows: the figures are of a search among these rows. Only the original's
    neighbors are held, not its vectors.
    """

    task = "embedding"

    def __init__(self, rows: Rows, original: Neighbors, unit: np.ndarray, alike: _Alike) -> None:
        super().__init__(rows)
        self._original, self._unit, self._alike = original, unit, alike

    @classmethod
    def read(cls, rows: Rows, output: JudgedOutput) -> Self:
        """Read both models' embeddings, (rows, …); StepError X420 where they have not as many numbers."""
        given = [values.reshape(len(values), -1) for values in (output.original, output.candidate)]
        old, new = map(_unit, given)
        if old.shape != new.shape:
            message = f"the output '{output.name}' has {new.shape[1]} numbers a case, and the original's {old.shape[1]}"
            raise misfit(message)
        before, after, kept = compared_neighbors(old, new, rows.targets)
        same = np.array_equal(given[0], given[1])
        return cls(rows, before, old, _Alike(_cosine(old, new), kept, after.relevant, same))

    def scores(self, metric: str, chosen: np.ndarray, class_name: str = "") -> CaseScores:
        """Return cosines, kept neighbors, or whether the nearest neighbor is one of the same group."""
        if class_name:
            raise Unassessable("embeddings have no classes")
        units = self.rows.units[chosen]
        if metric == "cosine":
            return CaseScores(metric, np.ones(len(chosen)), self._alike.cosine[chosen], units, -1.0, 1.0)
        if len(self.rows) < FEWEST:
            raise Unassessable(f"of {len(self.rows)} rows the nearest other one is no choice: {FEWEST} are needed")
        if metric == "neighbor":
            return CaseScores(metric, np.ones(len(chosen)), self._alike.kept[chosen], units, 0.0, 1.0)
        if self._original.relevant is None or self._alike.relevant is None:
            raise Unassessable("there are no labels that say which rows belong together (data.label)")
        others = self._others_of_group()[chosen]
        if not others.any():
            raise Unassessable("no row has another one of its label")
        old, new = self._original.relevant[chosen], self._alike.relevant[chosen]
        return CaseScores(metric, old, new, units, 0.0, 1.0, weights=(others > 0).astype(np.float64))

    def _others_of_group(self) -> np.ndarray:
        """Return how many other rows belong to each row's group, (rows,)."""
        groups = _groups(self.rows)
        counts: np.ndarray = np.bincount(groups)[groups] - 1
        return counts

    def permuted(self, order: np.ndarray) -> "EmbeddingAnswers":
        """Give every row the original's embedding of another one."""
        original = self._original
        if np.array_equal(order, np.arange(len(order))):
            whole = np.ones(len(order))
            return self._with(_Alike(whole, whole, original.relevant, identical=True))
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        nearest = places[original.nearest[order]]
        kept = (nearest == original.nearest) / np.maximum(original.ties, original.ties[order])
        relevant = None
        if original.relevant is not None:
            groups = _groups(self.rows)
            relevant = (groups[nearest] == groups).astype(np.float64)
        return self._with(_Alike(_cosine(self._unit, self._unit[order]), kept, relevant))

    def broken(self, rows: np.ndarray, class_name: str = "") -> "EmbeddingAnswers":  # noqa: ARG002 - a case is broken whole
        """Turn the embeddings of some rows around, so that none of them keeps a neighbor or finds one of its group."""
        relevant = self._original.relevant
        return self._with(
            _Alike(
                np.where(rows, -1.0, 1.0),
                np.where(rows, 0.0, 1.0),
                None if relevant is None else np.where(rows, 0.0, relevant),
            )
        )

    def constant(self) -> "tuple[EmbeddingAnswers, str] | None":
        """Answer the mean embedding always: every other row is as near, and one is found by chance."""
        count = len(self.rows)
        if count < FEWEST:
            return None
        mean = np.broadcast_to(_unit(self._unit.mean(axis=0, keepdims=True)), self._unit.shape)
        groups = self._original.relevant
        relevant = None if groups is None else self._others_of_group() / (count - 1)
        alike = _Alike(_cosine(self._unit, mean), self._original.ties / (count - 1), relevant)
        return self._with(alike), "the mean embedding"

    def _with(self, alike: _Alike) -> "EmbeddingAnswers":
        return EmbeddingAnswers(self.rows, self._original, self._unit, alike)

    @property
    def identical(self) -> bool:
        """Whether both models give the same embeddings."""
        return self._alike.identical


def compared_neighbors(
    original: np.ndarray, candidate: np.ndarray, groups: np.ndarray | None
) -> tuple[Neighbors, Neighbors, np.ndarray]:
    """Find the nearest other rows by both models' unit vectors, (rows, numbers), and what share of them is both's.

    Where several rows are equally near, they all are the nearest: a model that answers all rows alike has no neighbor.
    """
    count = len(original)
    neighbors_of = [Neighbors(np.zeros(count, np.int64), np.zeros(count), _none(groups)) for _ in range(2)]
    kept = np.ones(count)
    for start in range(0, count, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, count))
        nearest = [_nearest(vectors, rows) for vectors in (original, candidate)]
        for neighbors, near in zip(neighbors_of, nearest, strict=True):
            neighbors.nearest[rows] = near.argmax(axis=1)
            neighbors.ties[rows] = near.sum(axis=1)
            if neighbors.relevant is not None and groups is not None:
                same = groups[rows][:, None] == groups
                neighbors.relevant[rows] = (near & same).sum(axis=1) / np.maximum(near.sum(axis=1), 1)
        both, either = nearest[0] & nearest[1], nearest[0] | nearest[1]
        kept[rows] = both.sum(axis=1) / np.maximum(either.sum(axis=1), 1)
    return neighbors_of[0], neighbors_of[1], kept


def _nearest(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Say of some rows which others are the nearest, ties included: (those rows, all rows) bool."""
    similar = vectors[rows] @ vectors.T
    similar[np.arange(len(rows)), rows] = -np.inf
    nearest: np.ndarray = similar >= similar.max(axis=1, keepdims=True) - _TIE
    nearest[np.arange(len(rows)), rows] = False
    return nearest


def _none(groups: np.ndarray | None) -> np.ndarray | None:
    return None if groups is None else np.zeros(len(groups))


def _unit(values: np.ndarray) -> np.ndarray:
    """Return vectors of length 1; one of zeros, which has no direction, stays as it is."""
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit: np.ndarray = values / np.where(norms > 0, norms, 1.0)
    return unit


def _cosine(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the cosine between unit vectors; of zeros with zeros 1, with anything else 0."""
    same = (old == new).all(axis=1)
    cosines: np.ndarray = np.where(same, 1.0, np.clip((old * new).sum(axis=1), -1.0, 1.0))
    return cosines


def _groups(rows: Rows) -> np.ndarray:
    if rows.targets is None:
        raise Unassessable("there are no labels that say which rows belong together (data.label)")
    return rows.targets.astype(np.int64)

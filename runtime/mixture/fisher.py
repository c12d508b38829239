"""Directions of a model's outputs along which small changes, squared, are on average what they do to its answers.

The damage of a change d of the outputs is d' F d / 2 to the second order, with the Fisher information F of the class
probabilities (Amari, Natural gradient works efficiently in learning, 1998): F is the sum of v v' over the directions v.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from titrant.runtime.contract.answers import class_probabilities, judged_output
from titrant.runtime.contract.reading import Reading
from titrant.runtime.mixture.damage import as_probabilities
from titrant.runtime.values import Outputs, Rows
from titrant.schema.recipe.tasks import CLASSIFYING, TASKS

# Of more classes, random signs stand for the sum over them.
_EACH_CLASS = 4
DRAWS = 4
_LEAST = 1e-6


def directions(
    reading: Reading, rows: Rows, generator: np.random.Generator, answers: Mapping[str, np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Return directions, name → array as the output's: the mean of (v · d)² over them and the rows is the damage.

    As `titrant.runtime.mixture.damage.damage` has it: divergence in nats, or relative squared error.
    """
    if TASKS[reading.task].label != "class":
        drawn = [dict[str, np.ndarray]() for _ in range(DRAWS)]
        for name, values in answers.items():
            for place, direction in enumerate(_unlabeled(reading.kind(name), values, generator)):
                drawn[place][name] = direction
        return drawn
    name = judged_output(reading, Outputs(rows.role, answers))
    values = answers[name].reshape(len(rows), -1)
    probabilities = class_probabilities(reading, rows, Outputs(rows.role, answers))
    if values.shape[1] == 1:
        spread = probabilities.prod(axis=1, keepdims=True)
        single = np.sqrt(spread) if reading.kind(name) == "logits" else 1 / np.sqrt(np.maximum(spread, _LEAST))
        single = single * answers[name].reshape(len(rows), -1) if reading.kind(name) == "log_probabilities" else single
        return [{name: (np.sqrt(0.5) * single).reshape(answers[name].shape)}]
    by_class = _drawn(reading.kind(name), probabilities, generator)
    return [{name: direction.reshape(answers[name].shape)} for direction in by_class]


def _unlabeled(kind: str, values: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
    wide = values.astype(np.float64)
    if kind in CLASSIFYING and values.ndim > 1 and values.shape[-1] > 1:
        positions = max(values[0, ..., 0].size, 1)
        for direction in _signed(kind, as_probabilities(kind, wide), generator):
            yield direction / np.sqrt(positions)
        return
    mean_square = float(np.square(wide).sum()) / len(values)
    for _ in range(DRAWS):
        yield generator.choice((-1.0, 1.0), size=values.shape) / np.sqrt(mean_square or 1.0)


def _drawn(kind: str, probabilities: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the direction of each class where there are few, else sums of them under random signs."""
    rows, classes = probabilities.shape
    if classes > _EACH_CLASS:
        yield from _signed(kind, probabilities, generator)
        return
    for place in range(classes):
        only = np.broadcast_to(np.eye(classes)[place], (rows, classes))
        yield np.sqrt(classes) * _direction(kind, probabilities, only)


def _signed(kind: str, probabilities: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
    for _ in range(DRAWS):
        yield _direction(kind, probabilities, generator.choice((-1.0, 1.0), size=probabilities.shape))


def _direction(kind: str, probabilities: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Return the sum over the classes of sign times direction: of class c it is sqrt(p_c / 2) (one-hot of c - p)."""
    if kind == "probabilities":
        return signs / np.sqrt(2 * np.maximum(probabilities, _LEAST))
    weighed = np.sqrt(probabilities / 2) * signs
    directed: np.ndarray = weighed - probabilities * weighed.sum(axis=-1, keepdims=True)
    return directed

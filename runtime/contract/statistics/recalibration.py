"""Fit the logistic recalibration of probabilities, and write its slope or intercept as a mean of one number a row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from titrant.schema.gate import CALIBRATION_INTERCEPT, CALIBRATION_SLOPE

# Probabilities beyond this are taken for it: the logit of 0 is no number, and single precision ends there anyhow.
CLIP = 1e-6
FURTHEST = float(np.log((1 - CLIP) / CLIP))
# A slope beyond this, either way, is that of scores that nearly separate the classes.
_STEEPEST = 200.0
_STEPS, _CONVERGED = 200, 1e-13
_FLAT = 1e-3
# Logits at which what a row could add is looked for.
_GRID = np.linspace(-FURTHEST, FURTHEST, 8193)


@dataclass(frozen=True)
class Recalibration:
    """A coefficient and what each row adds to it: `values` (rows,), whose mean is `value`.

    `ends` are the least and the most that a row could add, of label 0 and of label 1.
    """

    value: float
    values: np.ndarray
    ends: tuple[tuple[float, float], tuple[float, float]]


def logits(probabilities: np.ndarray) -> np.ndarray:
    """Return the logit of each probability (rows,), none further from 0 than that of 1e-6."""
    clipped = np.clip(probabilities, CLIP, 1 - CLIP)
    answer: np.ndarray = np.log(clipped) - np.log1p(-clipped)
    return answer


def slope(scores: np.ndarray, labels: np.ndarray) -> Recalibration | None:
    """Fit P(y = 1) = σ(a + b x) to logits x (rows,) and labels y (rows,) of 0 and 1; of b. None where none is finite.

    Cox (1958), "Two further applications of a model for binary regression", Biometrika 45; Van Calster et al. (2016),
    Journal of Clinical Epidemiology 74: 1 is right, less says that scores are too extreme. What a row adds is the
    influence function of the maximum likelihood estimate (Hampel 1974), (y - μ) (x - x̄) / I: x̄ is the mean weighted by
    μ (1 - μ), and I that mean's spread.
    """
    if _separated(scores, labels):
        return None
    fitted = _fit(np.stack([np.ones_like(scores), scores], axis=1), labels, np.zeros_like(scores))
    if fitted is None or abs(fitted[1]) > _STEEPEST:
        return None
    a, b = (float(value) for value in fitted)
    weights = _variance(a + b * scores)
    if not weights.sum():
        return None
    middle = float(weights @ scores / weights.sum())
    information = float((weights * (scores - middle) ** 2).mean())
    if information <= 0:
        return None

    def added(x: np.ndarray, y: np.ndarray | float) -> np.ndarray:
        values: np.ndarray = b + (y - _sigmoid(a + b * x)) * (x - middle) / information
        return values

    def ends(label: float) -> tuple[float, float]:
        values = added(_GRID, label)
        return float(values.min()), float(values.max())

    return Recalibration(b, added(scores, labels), (ends(0.0), ends(1.0)))


def intercept(scores: np.ndarray, labels: np.ndarray) -> Recalibration | None:
    """Fit P(y = 1) = σ(a + x), "calibration in the large": a. None where all labels are alike.

    0 is right; more says that scores are too low. What a row adds is (y - μ) / mean μ (1 - μ).
    """
    fitted = _fit(np.ones((len(scores), 1)), labels, scores)
    if fitted is None:
        return None
    a = float(fitted[0])
    information = float(_variance(a + scores).mean())
    if information <= 0:
        return None
    values = a + (labels - _sigmoid(a + scores)) / information
    reach = 1 / information
    return Recalibration(a, values, ((a - reach, a), (a, a + reach)))


FITS: Mapping[str, Callable[[np.ndarray, np.ndarray], Recalibration | None]] = {
    CALIBRATION_SLOPE: slope,
    CALIBRATION_INTERCEPT: intercept,
}


def distorted(probabilities: np.ndarray, positive: int, metric: str, change: tuple[float, float]) -> np.ndarray:
    """Return probabilities (rows, classes) whose coefficient has changed: `change` is what it is, and what it becomes.

    Logits of the positive class are stretched for the slope, shifted for the intercept.
    """
    value, target = change
    place = logits(probabilities[:, positive])
    if metric == CALIBRATION_INTERCEPT:
        place = place + (value - target)
    else:
        # Scores of the opposite order have a slope below 0, and none has one of 0.
        place = place * (value / target if abs(target) > _FLAT else -1.0)
    called = _sigmoid(place)
    others = probabilities.copy()
    others[:, positive] = 0.0
    rest = others.sum(axis=1, keepdims=True)
    shared = np.where(rest > 0, others / np.where(rest > 0, rest, 1.0), 1 / max(others.shape[1] - 1, 1))
    answer: np.ndarray = shared * (1 - called)[:, None]
    answer[:, positive] = called
    return answer


def _separated(scores: np.ndarray, labels: np.ndarray) -> bool:
    """Whether a threshold parts the labels, either way: then the likelihood has no maximum."""
    zeros, ones = scores[labels == 0], scores[labels == 1]
    if not len(zeros) or not len(ones):
        return True
    return bool(zeros.max() <= ones.min() or ones.max() <= zeros.min())


def _fit(design: np.ndarray, labels: np.ndarray, offset: np.ndarray) -> np.ndarray | None:
    """Return the maximum likelihood coefficients by Newton's method with halved steps; None where there are none."""
    if not 0 < labels.sum() < len(labels):
        return None
    beta = np.zeros(design.shape[1])
    likelihood = _log_likelihood(offset, labels)
    for _ in range(_STEPS):
        place = offset + design @ beta
        gradient = design.T @ (labels - _sigmoid(place))
        try:
            weighted: np.ndarray = design * _variance(place)[:, None]
            curvature: np.ndarray = design.T @ weighted
            step = np.linalg.solve(curvature, gradient)
        except np.linalg.LinAlgError:
            return None
        for _ in range(_STEPS):
            further = _log_likelihood(offset + design @ (beta + step), labels)
            if further >= likelihood - 1e-12 * abs(likelihood):
                break
            step = step / 2
        beta, likelihood = beta + step, further
        if np.abs(beta).max() > 10 * _STEEPEST or not np.isfinite(beta).all():
            return None
        if float(gradient @ step) <= _CONVERGED**2 * len(labels) or np.abs(step).max() <= _CONVERGED:
            return beta
    return None


def _log_likelihood(place: np.ndarray, labels: np.ndarray) -> float:
    return float((labels * place - np.logaddexp(0.0, place)).sum())


def _sigmoid(place: np.ndarray) -> np.ndarray:
    answer: np.ndarray = 1 / (1 + np.exp(-np.clip(place, -700, 700)))
    return answer


def _variance(place: np.ndarray) -> np.ndarray:
    mean = _sigmoid(place)
    answer: np.ndarray = mean * (1 - mean)
    return answer

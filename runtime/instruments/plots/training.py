"""The panels of a training: losses, accuracy, gradients, and what a learning-rate finder saw."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.runtime.charts.curve_panels import CurvePanel
from titrant.runtime.report.record_view import Curves


def training_panels(curves: Curves, *, log: bool) -> list[CurvePanel]:
    """Return the panels of a run's training."""
    norms = () if curves.gradients is None else curves.gradients.global_norm
    numbers = {"loss": curves.loss, "tuning_loss": curves.tuning_loss, "tuning_accuracy": curves.tuning_accuracy}
    return list(_panels(numbers, norms, curves.best_epoch, log=log))


def fit_panels(curves: Mapping[str, Any], *, log: bool) -> list[CurvePanel]:
    """Return the panels of what `titrant.train.fit` saw, whose best epoch counts from 0."""
    best = curves.get("best_epoch")
    norms = (curves.get("gradients") or {}).get("global_norm", ())
    return list(_panels(curves, norms, None if best is None else best + 1, log=log))


def _panels(curves: Mapping[str, Any], norms: Sequence[float], best: int | None, *, log: bool) -> Iterator[CurvePanel]:
    losses = {"training": curves.get("loss") or (), "tuning": curves.get("tuning_loss") or ()}
    measures = (
        ("loss", losses),
        ("accuracy", {"tuning": curves.get("tuning_accuracy") or ()}),
        ("largest norm of the gradients", {"all layers": norms}),
    )
    kept = "" if best is None else f"dashed: {best}, which was kept"
    for title, series in measures:
        full = {label: values for label, values in series.items() if values}
        if full:
            yield CurvePanel(title, full, "epoch", log, best, kept)

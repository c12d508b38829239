"""Draw learning curves and groups of bars from lists and mappings of numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.curve_panels import CurvePanel, curve_panels
from titrant.runtime.charts.grouped_bars import BarGroup, grouped_bars
from titrant.runtime.instruments.arrays.libraries import as_numbers

# More are not told apart by eye.
_MOST_PANELS, _MOST_SERIES, _MOST_BARS = 24, 12, 64


def curves_picture(curves: Mapping[str, Any], *, log: bool, across: str, title: str) -> ChartPicture:
    """Draw a panel for each name: a list of numbers, or a mapping of several; ValueError for anything else."""
    panels = [CurvePanel(str(name), _series(str(name), values), across, log) for name, values in curves.items()]
    return panels_picture([panel for panel in panels if any(map(len, panel.series.values()))], title)


def panels_picture(panels: Sequence[CurvePanel], title: str) -> ChartPicture:
    """Draw panels; ValueError where there is none, or more than can be seen."""
    if not panels:
        raise ValueError("there is nothing to draw: every list is empty")
    if len(panels) > _MOST_PANELS:
        raise ValueError(f"{len(panels)} panels cannot be seen in one picture: give at most {_MOST_PANELS}")
    return ChartPicture(curve_panels(title, panels, "curves"), title)


def training_picture(curves: Mapping[str, Any], best: int | None, *, log: bool, title: str) -> ChartPicture:
    """Draw losses, accuracy and norms of gradients of a training, by the keys of `FitResult.curves`.

    `best` is the epoch whose weights were kept, from 1; None where nobody chose.
    """
    losses = {"training": curves.get("loss"), "tuning": curves.get("tuning_loss")}
    norms = (curves.get("gradients") or {}).get("global_norm")
    measures = {
        "loss": losses,
        "accuracy": {"tuning": curves.get("tuning_accuracy")},
        "largest norm of the gradients": {"all layers": norms},
    }
    kept = "" if best is None else f"dashed: {best}, which was kept"
    panels = [
        CurvePanel(measure, full, "epoch", log, best, kept)
        for measure, series in measures.items()
        if (full := {label: values for label, values in series.items() if values})
    ]
    return panels_picture(panels, title)


def _series(name: str, values: Any) -> dict[str, list[float]]:
    series = values if isinstance(values, Mapping) else {name: values}
    if len(series) > _MOST_SERIES:
        raise ValueError(f"{name}: {len(series)} lines cannot be told apart: give at most {_MOST_SERIES}")
    return {str(label): _numbers(f"{name}: {label}" if label != name else name, each) for label, each in series.items()}


def _numbers(name: str, values: Any) -> list[float]:
    """Return a list of numbers; what has none at a place (None) is a gap there."""
    if isinstance(values, (list, tuple)):
        values = [math.nan if value is None else value for value in values]
    try:
        numbers = as_numbers(values)
    except ValueError:
        raise ValueError(f"{name} is a {type(values).__name__}, and no list of numbers") from None
    if numbers.ndim != 1:
        raise ValueError(f"{name} has {numbers.ndim} dimensions: a curve is a list of numbers")
    return [float(number) for number in numbers]


def compare_picture(models: Mapping[str, Mapping[str, Any]], title: str) -> ChartPicture:
    """Draw a group of bars for each measure, with a bar for each model; ValueError where there is nothing to draw."""
    for name, figures in models.items():
        if not isinstance(figures, Mapping):
            raise ValueError(f"{name}: figures are a mapping of measure to number, not a {type(figures).__name__}")
    measures = list(dict.fromkeys(str(measure) for figures in models.values() for measure in figures))
    if not measures:
        raise ValueError("there is nothing to compare: no model has a figure")
    if len(measures) * len(models) > _MOST_BARS * 4:
        raise ValueError(
            f"{len(measures) * len(models)} bars cannot be seen in one picture: give fewer models or measures"
        )
    groups = [
        BarGroup(measure, {name: _number(name, measure, figures.get(measure)) for name, figures in models.items()})
        for measure in measures
    ]
    return ChartPicture(grouped_bars(title, groups, list(models), "compared"), title)


def _number(name: str, measure: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        numbers = as_numbers(value)
    except ValueError:
        raise ValueError(f"{measure} of {name} is a {type(value).__name__}, and no number") from None
    if numbers.size != 1:
        raise ValueError(f"{measure} of {name} holds {numbers.size} numbers: give one")
    return float(numbers.reshape(()))

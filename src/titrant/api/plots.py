"""Pictures of learning curves, attention, and models side by side; each is shown in a notebook, or saved."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.charts.alone import ChartPicture
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError

if TYPE_CHECKING:
    from titrant.runtime.report.record_view import Record

__all__ = ["ChartPicture", "attention", "compare", "curves"]

Run = str | os.PathLike[str]


def curves(source: Any, *, log: bool = False, across: str = "epoch", title: str = "Learning curves") -> ChartPicture:
    """Draw learning curves, one panel a measure.

    `source` is a run (its name, folder or "latest"), what `titrant.train.fit` returned, its `curves`, or a mapping of
    names to lists of numbers, of any lengths; a mapping in place of a list has several lines in one panel, as
    `{"loss": {"train": […], "tuning": […]}}`. NaN, infinity and None are gaps, and with `log` so is what is not
    above 0; the picture says how many there are. `across` names what is counted from 1.

    Raises RecipeError P007 for a run that is not there and X692 for one that trained nothing, ValueError for what holds
    no lists of numbers.
    """
    from titrant.runtime.instruments.plots.curves import curves_picture, training_picture
    from titrant.schema.values.canonical import plain

    if isinstance(source, (str, os.PathLike)):
        trained = _record(source).values.curves
        if trained is None:
            message, advice = f"the run {os.fspath(source)} trained nothing", "name a run whose recipe has `train`"
            raise RecipeError(Diagnostic("X692", message, help=advice))
        return training_picture(plain(trained), trained.best_epoch, log=log, title=title)
    of_fit = getattr(source, "curves", source)
    if not isinstance(of_fit, Mapping):
        raise ValueError(f"curves are a run, a result of fit or a mapping of lists, not a {type(source).__name__}")
    if "best_epoch" in of_fit:
        best = of_fit["best_epoch"]  # counted from 0
        return training_picture(of_fit, None if best is None else best + 1, log=log, title=title)
    return curves_picture(of_fit, log=log, across=across, title=title)


def attention(
    weights: Any,
    tokens: Sequence[str] | None = None,
    *,
    keys: Sequence[str] | None = None,
    heads: str | int = "mean",
    case: int = 0,
) -> ChartPicture:
    """Draw attention weights as a heat map: a row for each query, a column for each key.

    `weights` are (seq, seq), (heads, seq, seq) or (batch, heads, seq, seq), of which `case` is drawn, of torch, NumPy,
    MLX or lists. `heads` is "mean", "each" (a small map a head), or the number of one, from 0. `tokens` stand in
    place of the numbers of places: they may be what a patient said. `keys` label columns of another sequence, whose
    length may differ. The picture says where rows do not sum to 1, and what is NaN; long sequences are averaged.

    Raises ValueError for another shape, and labels of another number.
    """
    from titrant.runtime.instruments.plots.attention import attention_picture

    return attention_picture(weights, tokens, keys, heads, case)


def compare(
    models: "Mapping[str, Mapping[str, Any]] | Sequence[Run]", *, title: str = "Models side by side"
) -> ChartPicture:
    """Draw figures of models side by side: a group of bars for each measure, a bar for each model.

    `models` maps names to figures, as `{"original": {"accuracy": .95, "ms": 3.1}, …}`, or lists runs, of which the
    figures of the first model that each released are taken: its size in bytes, and what its gates measured. Each
    measure has a scale of its own, from 0; where a model has none there is a dash.

    Raises ValueError where there is nothing to compare, RecipeError P007 for a run that is not there.
    """
    from titrant.runtime.instruments.plots.curves import compare_picture

    figures = models if isinstance(models, Mapping) else {_name(run): _figures(run) for run in _listed(models)}
    return compare_picture(figures, title)


def _listed(models: Any) -> Sequence[Run]:
    if isinstance(models, (str, os.PathLike)) or not isinstance(models, Sequence):
        what = "a text" if isinstance(models, str) else f"a {type(models).__name__}"
        raise ValueError(f"models are a mapping of figures or a list of runs, not {what}")
    for run in models:
        if not isinstance(run, (str, os.PathLike)):
            advice = "give figures by name: {name: {measure: number}}"
            raise ValueError(f"a run is its name or folder, not a {type(run).__name__}: {advice}")
    return models


def _folder(run: Run) -> Path:
    from titrant.api.runs import find_run
    from titrant.runtime.store.home import open_home

    return find_run(os.fspath(run), open_home().path, ended=True)


def _name(run: Run) -> str:
    return _folder(run).name


def _figures(run: Run) -> Mapping[str, float]:
    from titrant.api.runs import run_row

    return run_row(_folder(run)).figures


def _record(run: Run) -> "Record":
    from titrant.api.report import report
    from titrant.api.runs import damaged, read_json
    from titrant.runtime.report.record_view import read_record

    file = report(os.fspath(run), format="json")
    try:
        return read_record(read_json(file).get("record") or {})
    except (StepError, AttributeError) as error:
        raise damaged(file, str(error)) from None

"""The report's plots, chosen by what the record holds."""

from dataclasses import dataclass

from markupsafe import Markup

from titrant.runtime.plots.batches import Line, latency, throughput
from titrant.runtime.plots.curves import curves
from titrant.runtime.report.record_view import Curves, Record


@dataclass(frozen=True)
class Pictures:
    """SVG elements; () where the record has nothing to draw."""

    speed: tuple[Markup, ...] = ()
    training: tuple[Markup, ...] = ()


def pictures(record: Record) -> Pictures:
    """Draw speed over batch sizes and the learning curves."""
    return Pictures(_speed(record), _training(record.values.curves))


def _speed(record: Record) -> tuple[Markup, ...]:
    timings = record.values.timings
    order = ["original", *(candidate.id for candidate in record.plan.candidates)]
    names = [name for name in order if name in timings and timings[name].batches]
    if not names:
        return ()
    roles = {"original": "reference", **dict.fromkeys(record.run.released, "chosen")}
    halves = [
        Line(name, {batch: timing.p50 for batch, timing in timings[name].batches.items()}, roles.get(name, "other"))
        for name in names
    ]
    rates = [
        Line(name, {batch: timing.throughput for batch, timing in timings[name].batches.items()}, line.role)
        for name, line in zip(names, halves, strict=True)
    ]
    return Markup(latency(halves)), Markup(throughput(rates))


def _training(training: Curves | None) -> tuple[Markup, ...]:
    if training is None:
        return ()
    losses = {"train rows": training.loss, "tuning rows": training.tuning_loss}
    panels = [("Loss", {name: values for name, values in losses.items() if values})]
    if training.tuning_accuracy:
        panels.append(("Accuracy on tuning rows", {"tuning rows": training.tuning_accuracy}))
    return tuple(
        Markup(curves(title, series, training.best_epoch, name=f"curve{index}"))
        for index, (title, series) in enumerate(panels)
        if series
    )

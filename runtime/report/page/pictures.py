"""Every picture of a page, drawn from a record."""

from dataclasses import dataclass

from markupsafe import Markup

from titrant.runtime.charts.scatter import OTHER, PLAIN, Mark, Scatter, scatter_svg
from titrant.runtime.charts.series import Curve, Line, curve, latency, throughput
from titrant.runtime.report.page.evidence_charts import bars, reliability_svg, sweep_picture
from titrant.runtime.report.page.quality import QualityChart
from titrant.runtime.report.record_view import Curves, Record
from titrant.runtime.report.search_path import FP32, SearchPath


@dataclass(frozen=True)
class Pictures:
    """SVG elements; () or "" where the record has nothing to draw."""

    quality: Markup
    speed: tuple[Markup, ...] = ()
    training: tuple[Markup, ...] = ()
    sensitivity: tuple[Markup, ...] = ()
    search: tuple[Markup, ...] = ()
    reliability: tuple[Markup, ...] = ()


def pictures(
    record: Record, quality: QualityChart, paths: tuple[SearchPath, ...] = (), leads: tuple[str, ...] = ()
) -> Pictures:
    """Draw quality over latency, speed over batch sizes, curves, damages, searches, and how well `leads` predict."""
    damages = tuple(
        Markup(bars(name, sensitivity, name=f"sensitivity{place}"))
        for place, (name, sensitivity) in enumerate(record.values.sensitivity.items())
    )
    drawn = tuple(Markup(path_picture(path, f"path{place}")) for place, path in enumerate(paths) if _drawable(path))
    first = Markup("" if quality.chart is None else scatter_svg(quality.chart, "quality-chart"))
    bins = {name: record.values.reliability[name] for name in leads if name in record.values.reliability}
    diagrams = tuple(
        Markup(reliability_svg(value, name, f"reliability{place}"))
        for place, (name, value) in enumerate(bins.items())
        if value.original and value.candidate
    )
    return Pictures(first, _speed(record), _training(record.values.curves), damages, drawn, diagrams)


def _speed(record: Record) -> tuple[Markup, ...]:
    timings = record.values.timings
    order = ["original", *(candidate.id for candidate in record.plan.candidates), *timings]
    names = [name for name in dict.fromkeys(order) if name in timings and timings[name].batches]
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
    best = training.best_epoch
    kept = "" if best is None else f"dashed: {best}, whose weights were kept"
    losses = {"train rows": training.loss, "tuning rows": training.tuning_loss}
    panels = [("Loss", {name: values for name, values in losses.items() if values})]
    if training.tuning_accuracy:
        panels.append(("Accuracy on tuning rows", {"tuning rows": training.tuning_accuracy}))
    gradients = training.gradients
    if gradients is not None and (gradients.above or gradients.layers):
        panels.append(("Largest global norm of the gradients", {"all layers": gradients.global_norm}))
    drawn = [
        Markup(curve(Curve(title, series, "epoch", best, kept), f"curve{index}"))
        for index, (title, series) in enumerate(panels)
        if series
    ]
    return (*drawn, *([] if training.sweep is None else [Markup(sweep_picture(training.sweep))]))


def _drawable(path: SearchPath) -> bool:
    return sum(point.kept is not None and point.seconds is not None for point in path.points) > 1


def path_picture(path: SearchPath, name: str = "path") -> str:
    """Draw what each candidate kept on tuning rows over its latency, with the threshold and what is released ringed.

    Points are numbered as the rows of the path's table; a whisker reaches down to what is kept beyond chance, a tick
    stands where the latency was predicted.
    """
    points = tuple(
        Mark(point.id, point.seconds, point.kept, PLAIN if point.kind == FP32 else OTHER, point.released, point.said,
              point.lower, point.predicted_seconds)
        for point in path.points
        if point.kept is not None and point.seconds is not None
    )  # fmt: skip
    chart = Scatter(f"What was tried to mend {path.base}", points, "median latency of a batch", "Kept on tuning rows",
                    lambda value: f"{value:.4g}", asked=path.asked)  # fmt: skip
    return scatter_svg(chart, name, (560, 320))

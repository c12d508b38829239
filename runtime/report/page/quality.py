"""Every candidate's quality beside its latency: the main metric on tuning rows, and what is asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from titrant.runtime.charts.scatter import OTHER, PLAIN, REFERENCE, Mark, Scatter
from titrant.runtime.report.candidates import Shown, outcome, table_batch
from titrant.runtime.report.gain_rows import beside, fastest_marks
from titrant.runtime.report.main_metric import MainMetric, main_metric
from titrant.runtime.report.record_view import NONE, Record, gate_title, quantity
from titrant.schema.gain_parts import ORIGINAL
from titrant.schema.gate import threshold_words
from titrant.schema.record import NOT_TRIED
from titrant.schema.values.units import format_time


@dataclass(frozen=True)
class LegendRow:
    """One numbered point in words; `number` is 0 for what could not be drawn, and then `outcome` says why."""

    number: int
    name: str
    what: str
    symbol: str
    outcome: str
    tone: str
    seconds: str
    value: str
    size: str
    chosen: bool = False


@dataclass(frozen=True)
class QualityChart:
    """The chart, its legend, and what it shows in a sentence; `chart` is None where fewer than two points are known."""

    metric: str
    sentence: str
    chart: Scatter | None
    rows: tuple[LegendRow, ...]

    @property
    def unmade(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What is not drawn, but for the original."""
        return tuple((words, names) for words, names in self.absent if names != (ORIGINAL,))

    @property
    def absent(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What is not drawn, by what became of it: (("not tried", ("mix1", "mix2")), …)."""
        outcomes = dict.fromkeys(row.outcome for row in self.rows if not row.number)
        return tuple(
            (words, tuple(row.name for row in self.rows if not row.number and row.outcome == words))
            for words in outcomes
        )


def quality_chart(record: Record, candidates: Mapping[str, Shown]) -> QualityChart:
    """Lay every model out that was timed, the original first; what has no figures is listed with the reason."""
    metric, batch = main_metric(record), table_batch(record)
    rows: list[LegendRow] = []
    points: list[Mark] = []
    absent: list[LegendRow] = []
    for shown in _models(record, candidates, metric, batch):
        row, x, y = shown.row, shown.seconds, shown.value
        if x is None or y is None:
            absent.append(row)
            continue
        words = f"{row.value}, {row.seconds}, {row.outcome}"
        points.append(Mark(row.name, x, y, shown.kind, row.chosen, words, shown.low))
        rows.append(LegendRow(len(points), *(getattr(row, name) for name in _COPIED)))
    chart = None
    if len(points) > 1:
        write = lambda value: quantity(value, metric.unit) if metric.unit else f"{value:.4g}"  # noqa: E731
        up = metric.name[:1].upper() + metric.name[1:] + (", less is better (upwards is better)" if metric.less else "")
        chart = Scatter(
            title=f"{metric.name} against latency", marks=tuple(points),
            across=f"median latency of a batch of {batch}", up=f"{up}, on tuning rows",
            write_y=write, asked=metric.asked, less=metric.less,
        )  # fmt: skip
    return QualityChart(metric.name, _sentence(record, metric, batch), chart, (*rows, *absent))


_COPIED = ("name", "what", "symbol", "outcome", "tone", "seconds", "value", "size", "chosen")


@dataclass(frozen=True)
class _Model:
    row: LegendRow
    kind: str
    seconds: float | None
    value: float | None
    low: float | None = None


def _models(record: Record, candidates: Mapping[str, Shown], metric: MainMetric, batch: int) -> list[_Model]:
    timings, first = record.values.timings, next(iter(record.values.quality.values()), None)
    faithful = 1.0 if metric.is_share else metric.of_original(first)
    search = next(iter(record.plan.searches), None)
    marks = {} if search is None else fastest_marks(record, search)

    def seconds(name: str) -> float | None:
        timing = timings[name].batches.get(batch) if name in timings else None
        return None if timing is None else timing.p50

    def row(
        name: str, what: str, became: tuple[str, str, str], value: float | None, *, size: int | None = None,
        chosen: bool = False,
    ) -> LegendRow:  # fmt: skip
        p50 = seconds(name)
        return LegendRow(
            0, name, f"{what}; {marks[name]}" if name in marks else what, *became,
            seconds=NONE if p50 is None else format_time(p50), value=metric.words(value), size=quantity(size, "B"),
            chosen=chosen,
        )  # fmt: skip

    kept = not record.run.released
    became = ("✓", "keep this one", "pass") if kept else ("○", "the reference", "plain")
    what = f"as given, in {record.plan.original_engine}"
    first_row = row("original", what, became, faithful, chosen=kept)
    models = [_Model(first_row, REFERENCE, seconds("original"), faithful)]
    for each in candidates.values():
        said = outcome(each)
        because = (
            f"{said[1]}: {each.record.because}"
            if not each.timings.batches and each.record.status != NOT_TRIED
            else said[1]
        )
        low = each.quality.lower if each.quality and metric.is_kept else None
        kind, value = PLAIN if each.planned.method == "none" else OTHER, metric.of(each.quality)
        legend = row(each.id, _what(each), (said[0], because, said[2]), value, size=each.record.size,
                     chosen=each.released)  # fmt: skip
        models.append(_Model(legend, kind, seconds(each.id), value, low))
    for name, engine, size in beside(record, search) if search is not None else ():
        became = ("○", "timed beside", "plain")
        legend = row(name, f"plain conversion, in {engine}", became, faithful, size=size)
        models.append(_Model(legend, PLAIN, seconds(name), faithful))
    return models


def _what(shown: Shown) -> str:
    method = "plain conversion" if shown.planned.method == "none" else shown.planned.method
    return f"{method}, {shown.planned.format} in {shown.planned.engine}"


def _sentence(record: Record, metric: MainMetric, batch: int) -> str:
    asked = ""
    if metric.gate is not None and metric.asked is not None:
        asked = f" The dashed line is what {gate_title(metric.gate)} asks ({threshold_words(metric.gate)})."
    return (
        f"{metric.name[:1].upper()}{metric.name[1:]} on tuning rows, which choose and do not judge, over the median "
        f"time of a batch of {batch}. Up and to the left is better; a square is the original, a diamond the model as "
        f"it is in another file, the ring what is {'kept' if not record.run.released else 'released'}.{asked}"
    )

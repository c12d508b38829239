"""Every candidate's quality beside its latency: the main metric on tuning rows, and what is asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from titrant.runtime.report.candidates import Shown, outcome, table_batch
from titrant.runtime.report.charts.scatter import OTHER, PLAIN, REFERENCE, Mark, Scatter
from titrant.runtime.report.gain_rows import beside, fastest_marks
from titrant.runtime.report.record_view import NONE, Quality, Record, Timing, fraction, gate_title, quantity
from titrant.schema.gain_parts import ORIGINAL
from titrant.schema.gate import LESS_IS_BETTER, SHARES, Contract, Gate, threshold_words
from titrant.schema.record import NOT_TRIED
from titrant.schema.values.units import format_time

_KEPT = "retention"


@dataclass(frozen=True)
class MainMetric:
    """What quality means in a run: a metric, or the share that is kept of the original's where only that is known.

    `asked` is the threshold of `gate` in these terms on tuning rows, None where there is none; `less` says that less is
    better.
    """

    name: str
    key: str
    gate: Gate | None
    asked: float | None
    unit: str = ""
    less: bool = False

    def of(self, quality: Quality | None) -> float | None:
        """Return a candidate's value."""
        if quality is None:
            return None
        if self.key in (_KEPT, "agreement"):
            value: float | None = getattr(quality, self.key)
            return value
        return quality.candidate.get(self.key)


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


def main_gate(contract: Contract) -> Gate | None:
    """Return the gate that says what quality is: what all cases must retain, else the first about all cases."""
    whole = [gate for gate in contract.gates if gate.slice == "all" and not gate.of_original]
    whole = [gate for gate in whole if gate.preset not in ("target", "executed", "fine_tuned", "batch_invariance")]
    for preset in ("retention", "gates", "clinical_relevance", "safety", "calibration"):
        for gate in whole:
            if gate.preset == preset and gate.test != "not_assessable":
                return gate
    return None


def is_less_better(gate: Gate) -> bool:
    """Whether less of a gate's metric is better."""
    return gate.metric in LESS_IS_BETTER or gate.comparison in ("at_most", "rise_at_most")


def main_metric(record: Record) -> MainMetric:
    """Say what the quality of this run's candidates is measured by, on tuning rows."""
    qualities = list(record.values.quality.values())
    gate = main_gate(record.plan.contract)
    name = "accuracy" if gate is None else gate.metric
    original = next((value for each in qualities if (value := each.original.get(name)) is not None), None)
    unit = "" if gate is None else gate.unit
    if name not in SHARES and original is not None:
        less = gate is not None and is_less_better(gate)
        asked = None if gate is None else _asked(gate, original, less=less)
        return MainMetric(name.replace("_", " "), name, gate, asked, unit, less)
    asked = gate.threshold if gate is not None and gate.comparison in ("retention", "at_least") and unit == "" else None
    if name not in SHARES and any(each.retention is not None for each in qualities):
        return MainMetric(f"kept of the original’s {name.replace('_', ' ')}", _KEPT, gate, asked)
    return MainMetric("agreement with the original", "agreement", gate, asked if name in SHARES else None)


def _asked(gate: Gate, original: float, *, less: bool) -> float | None:
    if gate.comparison in ("at_least", "at_most"):
        return gate.threshold
    if gate.comparison == "retention":
        return original / gate.threshold if less else original * gate.threshold
    if gate.comparison == "drop_at_most":
        return original - gate.threshold
    return original + gate.threshold if gate.comparison == "rise_at_most" else None


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
            across=f"median latency of a batch of {batch}", up=f"{up}, on tuning rows", write_x=format_time,
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
    of_original = None if first is None else first.original.get(metric.key)
    faithful = 1.0 if metric.key in (_KEPT, "agreement") else of_original
    search = next(iter(record.plan.searches), None)
    marks = {} if search is None else fastest_marks(record, search)

    def timed(name: str) -> Timing | None:
        return timings[name].batches.get(batch) if name in timings else None

    def model(name: str, what: str, became: tuple[str, str, str], value: float | None, **more: object) -> _Model:
        timing = timed(name)
        row = LegendRow(
            0, name, f"{what}; {marks[name]}" if name in marks else what, *became,
            seconds=NONE if timing is None else format_time(timing.p50), value=_written(metric, value),
            size=quantity(more.get("size"), "B"), chosen=bool(more.get("chosen")),  # type: ignore[arg-type]
        )  # fmt: skip
        seconds = None if timing is None else timing.p50
        return _Model(row, str(more.get("kind", OTHER)), seconds, value, more.get("low"))  # type: ignore[arg-type]

    kept = not record.run.released
    became = ("✓", "keep this one", "pass") if kept else ("○", "the reference", "plain")
    what = f"as given, in {record.plan.original_engine}"
    models = [model("original", what, became, faithful, kind=REFERENCE, chosen=kept)]
    for each in candidates.values():
        said = outcome(each)
        because = (
            f"{said[1]}: {each.record.because}"
            if not each.timings.batches and each.record.status != NOT_TRIED
            else said[1]
        )
        low = each.quality.lower if each.quality and metric.key == _KEPT else None
        models.append(
            model(each.id, _what(each), (said[0], because, said[2]), metric.of(each.quality), size=each.record.size,
                  chosen=each.released, kind=PLAIN if each.planned.method == "none" else OTHER, low=low)
        )  # fmt: skip
    for name, engine, size in beside(record, search) if search is not None else ():
        became = ("○", "timed beside", "plain")
        models.append(model(name, f"plain conversion, in {engine}", became, faithful, size=size, kind=PLAIN))
    return models


def _what(shown: Shown) -> str:
    method = "plain conversion" if shown.planned.method == "none" else shown.planned.method
    return f"{method}, {shown.planned.format} in {shown.planned.engine}"


def _written(metric: MainMetric, value: float | None) -> str:
    return quantity(value, metric.unit) if metric.unit else fraction(value)


def _sentence(record: Record, metric: MainMetric, batch: int) -> str:
    asked = ""
    if metric.gate is not None and metric.asked is not None:
        asked = f" The dashed line is what {gate_title(metric.gate)} asks ({threshold_words(metric.gate)})."
    return (
        f"{metric.name[:1].upper()}{metric.name[1:]} on tuning rows, which choose and do not judge, over the median "
        f"time of a batch of {batch}. Up and to the left is better; a square is the original, a diamond the model as "
        f"it is in another file, the ring what is {'kept' if not record.run.released else 'released'}.{asked}"
    )

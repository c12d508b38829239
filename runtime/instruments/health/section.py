"""The health of models as a section of a page: what is unsound, and what int8 would leave of each layer."""

from collections.abc import Iterable, Iterator, Mapping

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.charts.series import Curve, lines_over
from titrant.runtime.instruments.health.figures import TensorFigures
from titrant.runtime.instruments.health.finding import LayerAnswers, ModelHealth
from titrant.runtime.instruments.health.words import verdict
from titrant.runtime.instruments.weights.layer_tensor import short_format
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn, number_cell
from titrant.schema.values.units import counted

_FOUND = tuple(TableColumn(name) for name in ("Severity", "Model", "Layer", "What was found", "What helps"))
_WEIGHTS = (
    *(TableColumn(name) for name in ("Tensor", "Shape", "Type")),
    *(TableColumn(name, numeric=True) for name in ("Least", "Most", "Zero", "Idle channels")),
    TableColumn("Largest range", numeric=True, tip="of an output channel, over the median one"),
    TableColumn("int8, one scale", numeric=True, tip="signal-to-noise of all weights in decibels"),
    TableColumn("Median channel", numeric=True, tip="signal-to-noise of the median channel with one scale for all"),
    TableColumn("int8, a scale each", numeric=True, tip="signal-to-noise with a scale for each output channel"),
)
_ANSWERS = (
    *(TableColumn(name) for name in ("Layer", "Operation")),
    *(TableColumn(name, numeric=True) for name in ("Least", "Most", "Channels", "Same for all", "Never above zero")),
    TableColumn("int8, one scale", numeric=True, tip="signal-to-noise in decibels"),
)
_MARKS = {"fault": "✕ fault", "warning": "! warning", "note": "note"}
_TONES = {"fault": "fail", "warning": "warn", "note": ""}
# More rows than this are left to the JSON.
_MOST = 1000


def health_section(seen: Mapping[str, ModelHealth]) -> PageSection:
    """Lay out the health of models by their names."""
    verdicts = " ".join(f"{name}: {verdict(health)}." for name, health in seen.items())
    explained = (
        f"{verdicts} A fault leaves no sensible answer, a warning is hardly meant, a note matters where precision or size is "
        "reduced. Decibels are the signal-to-noise of int8: 20 dB are errors of a tenth, 40 dB of a hundredth."
    )
    found = tuple(row for name, health in seen.items() for row in _findings(name, health))
    numbered = list(enumerate(seen.items()))
    pictures = [picture for place, (name, health) in numbered for picture in _pictures(place, name, health)]
    inner = tuple(part for place, (name, health) in numbered for part in _parts(place, name, health))
    table = PageTable(_FOUND, found) if found else None
    return PageSection("health", "Health", explained, table, tuple(pictures), inner)


def _findings(name: str, health: ModelHealth) -> Iterator[tuple[TableCell | str, ...]]:
    for each in health.findings:
        severity = TableCell(_MARKS[each.severity], tone=_TONES[each.severity])
        yield severity, name, each.layer, each.words, each.helps


def _parts(place: int, name: str, health: ModelHealth) -> Iterator[PageSection]:
    weights = [tensor for tensor in health.tensors if tensor.role == "weight"]
    if weights:
        yield PageSection(f"health-weights-{place}", f"{name}: weights", table=_table(_WEIGHTS, map(_weight, weights)))
    if health.answers:
        title = f"{name}: answers on {counted(health.rows, 'row')}"
        yield PageSection(f"health-answers-{place}", title, table=_table(_ANSWERS, map(_answer, health.answers)))


def _table(columns: tuple[TableColumn, ...], rows: Iterable[tuple[TableCell | str, ...]]) -> PageTable:
    every = tuple(rows)
    left_out = f"… {len(every) - _MOST:,} more, in the JSON" if len(every) > _MOST else ""
    return PageTable(columns, every[:_MOST], left_out)


def _pictures(place: int, name: str, health: ModelHealth) -> Iterator[ChartPicture]:
    weights = [tensor for tensor in health.tensors if tensor.quiet_db is not None and tensor.channel_db is not None]
    if len(weights) > 1:
        points = {
            "a scale each": [(float(at), tensor.channel_db or 0.0) for at, tensor in enumerate(weights, 1)],
            "one scale": [(float(at), tensor.quiet_db or 0.0) for at, tensor in enumerate(weights, 1)],
        }
        title = f"{name}: decibels that int8 leaves of the median channel"
        yield ChartPicture(lines_over(Curve(title, {}, "layer"), points, f"health-{place}", log=False), title)


def _weight(tensor: TensorFigures) -> tuple[TableCell | str, ...]:
    decibels = (tensor.tensor_db, tensor.quiet_db, tensor.channel_db)
    zeros = tensor.zeros / max(1, tensor.count)
    return (
        tensor.name,
        "×".join(map(str, tensor.shape)),
        short_format(tensor.stored),
        _number(tensor.minimum),
        _number(tensor.maximum),
        number_cell(zeros, f"{zeros:.1%}"),
        number_cell(tensor.idle),
        _number(tensor.spread),
        *(number_cell(value, None if value is None else f"{value:.1f} dB") for value in decibels),
    )


def _answer(seen: LayerAnswers) -> tuple[TableCell | str, ...]:
    broken = [f"{seen.nan:,} NaN"] * bool(seen.nan) + [f"{seen.infinite:,} infinite"] * bool(seen.infinite)
    return (
        seen.layer,
        seen.operation or "–",
        TableCell(f"✕ {', '.join(broken)}", tone="fail") if broken else _number(seen.minimum),
        _number(seen.maximum),
        number_cell(seen.channels),
        number_cell(seen.idle),
        number_cell(seen.off),
        number_cell(seen.tensor_db, None if seen.tensor_db is None else f"{seen.tensor_db:.1f} dB"),
    )


def _number(value: float | None) -> TableCell:
    return number_cell(value, None if value is None else f"{value:.3g}")

"""The health of models as a section of a page: what is unsound, and what int8 would leave of each layer."""

from collections.abc import Iterator, Mapping

from titrant.runtime.charts.section import Section, SectionTable
from titrant.runtime.charts.series import Curve, lines_over
from titrant.runtime.instruments.health.figures import TensorFigures
from titrant.runtime.instruments.health.finding import LayerAnswers, ModelHealth
from titrant.runtime.instruments.health.words import verdict

_FOUND = ("Severity", "Layer", "What was found", "What helps")
_WEIGHTS = (
    "Tensor", "Shape", "Type", "Least", "Most", "Zero", "Idle channels", "Largest / median range", "int8, one scale",
    "Median channel", "int8, a scale each",
)  # fmt: skip
_ANSWERS = ("Layer", "Operation", "Least", "Most", "Channels", "Same for all", "Never above zero", "int8, one scale")
_MARKS = {"fault": "✕ fault", "warning": "! warning", "note": "note"}


def health_section(seen: Mapping[str, ModelHealth]) -> Section:
    """Lay out the health of models by their names."""
    sentence = (
        "A fault leaves no sensible answer, a warning is hardly meant, a note matters where precision or size is reduced. "
        "Decibels are the signal-to-noise of int8 weights: 20 dB are errors of a tenth, 40 dB of a hundredth."
    )
    tables, pictures = [], []
    for place, (name, health) in enumerate(seen.items()):
        tables += _tables(name, health)
        pictures += _pictures(name, health, f"health-{place}")
    return Section("health", "Health", sentence, tuple(tables), tuple(pictures))


def _tables(name: str, health: ModelHealth) -> Iterator[SectionTable]:
    rows = tuple((_MARKS[found.severity], found.layer, found.words, found.helps) for found in health.findings)
    yield SectionTable(_FOUND, rows, f"{name}: {verdict(health)}")
    weights = tuple(_weight(tensor) for tensor in health.tensors if tensor.role == "weight")
    if weights:
        yield SectionTable(_WEIGHTS, weights, f"{name}: weights", frozenset(range(3, len(_WEIGHTS))), 10)
    if health.answers:
        answers = tuple(map(_answer, health.answers))
        caption = f"{name}: answers on {health.rows:,} rows"
        yield SectionTable(_ANSWERS, answers, caption, frozenset(range(2, len(_ANSWERS))), 10)


def _pictures(name: str, health: ModelHealth, identifier: str) -> Iterator[str]:
    weights = [tensor for tensor in health.tensors if tensor.quiet_db is not None and tensor.channel_db is not None]
    if len(weights) > 1:
        points = {
            "a scale each": [(place, tensor.channel_db or 0.0) for place, tensor in enumerate(weights, 1)],
            "one scale": [(place, tensor.quiet_db or 0.0) for place, tensor in enumerate(weights, 1)],
        }
        chart = Curve(f"{name}: decibels that int8 leaves of the median channel", {}, "layer")
        yield lines_over(chart, points, identifier, log=False)


def _weight(tensor: TensorFigures) -> tuple[str, ...]:
    decibels = (tensor.tensor_db, tensor.quiet_db, tensor.channel_db)
    return (
        tensor.name,
        " × ".join(map(str, tensor.shape)),
        tensor.stored,
        _number(tensor.minimum),
        _number(tensor.maximum),
        f"{tensor.zeros / max(1, tensor.count):.1%}",
        f"{tensor.idle:,}",
        _number(tensor.spread),
        *("–" if value is None else f"{value:.1f} dB" for value in decibels),
    )


def _answer(seen: LayerAnswers) -> tuple[str, ...]:
    broken = [f"{seen.nan:,} NaN"] * bool(seen.nan) + [f"{seen.infinite:,} infinite"] * bool(seen.infinite)
    return (
        seen.layer,
        seen.operation or "–",
        ", ".join(broken) or _number(seen.minimum),
        _number(seen.maximum),
        f"{seen.channels:,}",
        f"{seen.idle:,}",
        f"{seen.off:,}",
        "–" if seen.tensor_db is None else f"{seen.tensor_db:.1f} dB",
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"

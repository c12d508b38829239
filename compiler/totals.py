"""What a plan costs."""

from collections.abc import Iterable

from titrant.schema.frozen import dataclass
from titrant.schema.plan import BASES, FIGURES, Prediction, Step


@dataclass(frozen=True)
class Totals:
    """The predictions of many steps together; `unknown` counts the steps for which seconds are not known.

    `seconds` adds up, `loading_seconds` is what starting a worker and loading libraries takes beside it, each once,
    `peak_bytes` is the largest of any step, `output_bytes` is what the store grows by; `basis` is
    the least sure of those that went in.
    """

    steps: int
    seconds: float
    peak_bytes: int
    output_bytes: int
    basis: str
    unknown: int
    loading_seconds: float = 0.0


def totals(steps: Iterable[Step]) -> Totals:
    """Add up predictions."""
    predictions = [step.prediction for step in steps]
    return Totals(
        steps=len(predictions),
        seconds=sum(prediction.seconds or 0.0 for prediction in predictions),
        peak_bytes=max((prediction.peak_bytes or 0 for prediction in predictions), default=0),
        output_bytes=sum(prediction.output_bytes or 0 for prediction in predictions),
        basis=max((_least_sure(prediction) for prediction in predictions), key=BASES.index, default="counted"),
        unknown=sum(prediction.seconds is None for prediction in predictions),
        loading_seconds=sum(_loads(predictions).values()),
    )


def _least_sure(prediction: Prediction) -> str:
    bases = [prediction.basis_of(name) for name in FIGURES if getattr(prediction, name) is not None]
    return max(bases, key=BASES.index, default=prediction.basis)


def _loads(predictions: Iterable[Prediction]) -> dict[str, float]:
    loads: dict[str, float] = {}
    for prediction in predictions:
        for module, seconds in prediction.loads.items():
            loads[module] = max(seconds, loads.get(module, 0.0))
    return loads

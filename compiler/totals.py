"""What the steps of a plan are expected to cost together."""

from collections.abc import Iterable

from titrant.schema.frozen import dataclass
from titrant.schema.plan import Prediction, Step


@dataclass(frozen=True)
class Totals:
    """The predictions of many steps together; None where nothing is known of any of them.

    `seconds` adds up, with the `loading_seconds` that starting a worker and loading libraries takes, each once;
    `unknown` counts the steps of which seconds are not known. `peak_bytes` is the largest of any step, beside what the
    libraries take; `output_bytes` what the store grows by.
    """

    steps: int
    seconds: float | None
    peak_bytes: int | None
    output_bytes: int | None
    unknown: int
    loading_seconds: float = 0.0


def totals(steps: Iterable[Step]) -> Totals:
    """Add up predictions."""
    predictions = [step.prediction for step in steps]
    seconds = [made.seconds for made in predictions if made.seconds is not None]
    outputs = [made.output_bytes for made in predictions if made.output_bytes is not None]
    loading = _loading_seconds(predictions)
    return Totals(
        steps=len(predictions),
        seconds=sum(seconds) + loading if seconds else None,
        peak_bytes=max((made.peak_bytes for made in predictions if made.peak_bytes is not None), default=None),
        output_bytes=sum(outputs) if outputs else None,
        unknown=len(predictions) - len(seconds),
        loading_seconds=loading,
    )


def _loading_seconds(predictions: Iterable[Prediction]) -> float:
    """Add up what loading libraries costs: each once, whoever needs it first."""
    loads: dict[str, float] = {}
    for made in predictions:
        for module, seconds in made.loads.items():
            loads[module] = max(seconds, loads.get(module, 0.0))
    return sum(loads.values())

"""Measure what advice rests on: the layers of a model on one batch, and batches of several sizes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends import backend
from titrant.runtime.instruments.layers.figures import LayerProfile
from titrant.runtime.instruments.measure.figures import ModelTimes
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

BATCHES = (1, 4, 16, 32)
# Runs of each batch size: fewer leave an interval of the median open, and advice is no verdict.
ITERATIONS = 30
_SECONDS = 0.5


@dataclass(frozen=True)
class Measured:
    """A model's layers on one batch, and what batches of several sizes take."""

    profile: LayerProfile
    times: ModelTimes


def measured(
    model: Any,
    inputs: "Mapping[str, np.ndarray]",
    *,
    batches: Sequence[int] = BATCHES,
    iterations: int = ITERATIONS,
    threads: int = 1,
) -> Measured:
    """Time the layers of a model, as operators hand it on, on rows, name → (rows, …), and then every batch size.

    Raises StepError X221 or X670 for inputs that it cannot answer, X680 where its engine tells nothing of its layers.
    """
    from titrant.runtime.instruments.layers.profile import profile_layers
    from titrant.runtime.instruments.measure.live import measure

    engine = backend.engines_of(model.kind)[0]
    file = getattr(model, "path", None)
    title = str(getattr(model, "factory", "")) or (Path(file).name if file else "model")
    profile = profile_layers(model, inputs, engine=engine, title=title, threads=threads, seconds=_SECONDS)
    timed = model if file is None else Path(file)
    times = measure(timed, dict(inputs), batches=tuple(batches), iterations=iterations, threads=threads)
    return Measured(profile, times)

"""Predict from what steps cost here before: the same shape is measured, others correct the operator's formula."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from titrant.schema.cost import Observation, smallest_batch
from titrant.schema.plan import ModelCost, Prediction
from titrant.schema.values.canonical import plain, sha256
from titrant.schema.values.frozen import replace

# The latest observations that count, of the same shape and of the same operator.
_SAME, _LIKE = 5, 25
# A correction of more than this says that the formula is about something else.
_MOST = 30.0
# What costs less says nothing of a formula: seconds, bytes.
_LEAST_SECONDS, _LEAST_BYTES = 0.02, 4 << 20


class History:
    """Observations of one machine, oldest first, found by shape and by operator."""

    def __init__(self, observations: Iterable[Observation] = ()) -> None:
        self._shapes: dict[str, list[Observation]] = {}
        self._operators: dict[tuple[str, str], list[Observation]] = {}
        self._loads: dict[str, list[float]] = {}
        for observation in observations:
            self._shapes.setdefault(observation.shape, []).append(observation)
            self._operators.setdefault((observation.operator, observation.device), []).append(observation)
            for library, seconds in observation.loads.items():
                self._loads.setdefault(library, []).append(seconds)

    def same(self, shape: str) -> Sequence[Observation]:
        """Return the latest observations of a shape."""
        return self._shapes.get(shape, ())[-_SAME:]

    def like(self, operator: str, device: str) -> Sequence[Observation]:
        """Return the latest observations of an operator on a kind of device."""
        return self._operators.get((operator, device), ())[-_LIKE:]

    def loading(self, library: str) -> float | None:
        """Return the seconds that loading a library took, the median of the latest."""
        times = self._loads.get(library)
        return median(times[-_SAME:]) if times else None


NO_HISTORY = History()


def learn(operator: str, prediction: Prediction, history: History) -> Prediction:
    """Replace what a formula gave by what was measured, or correct it; without observations nothing changes."""
    same, like = history.same(prediction.shape), history.like(operator, prediction.device)
    loads = {name: history.loading(name) or seconds for name, seconds in prediction.loads.items()}
    prediction = replace(prediction, loads=loads)
    if same:
        return replace(_measured(prediction, same), learned_from=_digest(same))
    if like:
        return replace(_corrected(prediction, like), learned_from=_digest(like))
    return prediction


def _measured(prediction: Prediction, same: Sequence[Observation]) -> Prediction:
    bases = {"seconds": "measured", "peak_bytes": "measured"}
    output = prediction.output_bytes
    if output is None or prediction.basis_of("output_bytes") != "counted":
        output, bases["output_bytes"] = same[-1].output_bytes, "measured"
    models = dict(prediction.models)
    for name, cost in models.items():
        taken = [observation.models[name] for observation in same if name in observation.models]
        if taken:
            models[name] = replace(_slower(cost, median(taken) / smallest_batch(cost)), basis="measured")
    return replace(
        prediction,
        seconds=median(observation.seconds for observation in same),
        peak_bytes=int(median(observation.peak_bytes for observation in same)),
        output_bytes=output,
        bases={**prediction.bases, **bases},
        models=models,
    )


def _corrected(prediction: Prediction, like: Sequence[Observation]) -> Prediction:
    bases = dict(prediction.bases)
    seconds, peak = prediction.seconds, prediction.peak_bytes
    slower = _factor(((observation.seconds, observation.formula_seconds) for observation in like), _LEAST_SECONDS)
    if seconds is not None and slower is not None:
        seconds, bases["seconds"] = seconds * slower, "modelled"
    larger = _factor(((observation.peak_bytes, observation.formula_peak_bytes) for observation in like), _LEAST_BYTES)
    if peak is not None and larger is not None:
        peak, bases["peak_bytes"] = int(peak * larger), "modelled"
    return replace(
        prediction, seconds=seconds, peak_bytes=peak, bases=bases, models=_corrected_models(prediction.models, like)
    )


def _corrected_models(models: Mapping[str, ModelCost], like: Sequence[Observation]) -> dict[str, ModelCost]:
    """Correct each model's seconds by what models of its name took, or else by what all took."""
    corrected = {}
    for name, cost in models.items():
        pairs = [
            (observation.models[name], observation.formula_models.get(name))
            for observation in like
            if name in observation.models
        ]
        pairs = pairs or [
            (taken, observation.formula_models.get(which))
            for observation in like
            for which, taken in observation.models.items()
        ]
        factor = _factor(pairs, 0.0)
        corrected[name] = cost if factor is None else replace(_slower(cost, factor), basis="modelled")
    return corrected


def _slower(cost: ModelCost, factor: float) -> ModelCost:
    return replace(cost, seconds={batch: seconds * factor for batch, seconds in cost.seconds.items()})


def _factor(pairs: Iterable[tuple[float, float | None]], least: float) -> float | None:
    """Return the median of actual / formula where both are large enough to tell."""
    ratios = [actual / formula for actual, formula in pairs if formula and min(actual, formula) > least]
    return min(_MOST, max(1 / _MOST, median(ratios))) if ratios else None


def _digest(observations: Sequence[Observation]) -> str:
    return sha256(plain(observations))[:16]

"""How much a normalization with fixed statistics amplifies each channel."""

from collections.abc import Iterable, Iterator

from titrant.runtime.instruments.weights.layer_tensor import LayerTensor
from titrant.schema.values.frozen import dataclass

# The usual one; a file of weights does not say it.
_EPSILON = 1e-5
_ENOUGH = 150.0


@dataclass(frozen=True)
class NormalizationGain:
    """|scale| / sqrt(variance + epsilon) of a layer's channels: the `largest`, and where that is, its two parts.

    `above` counts channels beyond the limit; `untouched` is set where all statistics are those of a new layer.
    """

    layer: str
    channels: int
    largest: float
    above: int
    scale: float
    variance: float
    untouched: bool


def gains(tensors: Iterable[LayerTensor]) -> Iterator[NormalizationGain]:
    """Yield the gain of every layer that holds a running variance with finite values, none below zero."""
    parts: dict[str, dict[str, LayerTensor]] = {}
    for tensor in tensors:
        if tensor.role in ("scale", "mean", "variance"):
            parts.setdefault(tensor.layer, {})[tensor.role] = tensor
    for layer, held in parts.items():
        if "variance" in held:
            gain = _gain(layer, held)
            if gain is not None:
                yield gain


def _gain(layer: str, held: "dict[str, LayerTensor]") -> NormalizationGain | None:
    import numpy as np

    values = {role: np.concatenate([block.ravel() for block in tensor.blocks()]) for role, tensor in held.items()}
    variance = values["variance"]
    scale = values.get("scale", np.ones_like(variance))
    if not len(variance) or not np.isfinite(variance).all() or not np.isfinite(scale).all() or variance.min() < 0:
        return None
    each = np.abs(scale) / np.sqrt(variance + _EPSILON)
    at = int(each.argmax())
    untouched = bool((variance == 1).all() and "mean" in values and not values["mean"].any())
    above = int((each > _ENOUGH).sum())
    return NormalizationGain(
        layer, len(variance), float(each[at]), above, float(scale[at]), float(variance[at]), untouched
    )

"""Hold the weights of a layer against those of another: signal-to-noise, with a scale for each channel where needed."""

from collections.abc import Iterator, Sequence

import numpy as np

from titrant.runtime.instruments.health.figures import decibels
from titrant.runtime.instruments.weights.layer_tensor import LayerTensor

# A scale for each channel counts where it explains nine tenths of the difference, and leaves what is alike.
_GAIN_DB, _ALIKE_DB = 10.0, 20.0
_TINY = 1e-30


def weight_difference(ours: LayerTensor, theirs: Sequence[LayerTensor]) -> tuple[float, bool] | None:
    """Return decibels, and whether each channel was scaled first; None where the matrices have other shapes.

    Several of the second model are stacked along their channels. Both are read in blocks, one after the other.
    """
    channels, each = ours.channels, ours.count // max(1, ours.channels)
    sizes = [tensor.count // max(1, tensor.channels) for tensor in theirs]
    if sum(tensor.channels for tensor in theirs) != channels or any(size != each for size in sizes):
        return None
    own, cross, other = (np.zeros(channels) for _ in range(3))
    first = 0
    for block, against in _side_by_side(ours, theirs):
        places = slice(first, first + len(block))
        first += len(block)
        left, right = block.astype(np.float64), against.astype(np.float64)
        own[places], cross[places] = (left * left).sum(axis=1), (left * right).sum(axis=1)
        other[places] = (right * right).sum(axis=1)
    if not np.isfinite(own + other).all():
        return None
    plain = decibels(own.sum(), max(0.0, float((own - 2 * cross + other).sum())))
    scale = cross / np.maximum(own, _TINY)
    rest = np.maximum(0.0, other - scale * cross)
    scaled = decibels(float((scale * scale * own).sum()), float(rest.sum()))
    if scaled - plain > _GAIN_DB and scaled > _ALIKE_DB:
        return scaled, True
    return plain, False


def _side_by_side(ours: LayerTensor, theirs: Sequence[LayerTensor]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of both with as many channels, whatever blocks each is read in."""
    left, right = ours.blocks(), (block for tensor in theirs for block in tensor.blocks())
    held = another = np.empty((0, 0))
    while True:
        if not len(held):
            held = next(left, held)
        if not len(another):
            another = next(right, another)
        count = min(len(held), len(another))
        if not count:
            return
        yield held[:count], another[:count]
        held, another = held[count:], another[count:]

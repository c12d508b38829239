"""Equalize the ranges of channels between layers, by scales that leave every answer as it was.

Nagel et al. 2019 (Data-free quantization through weight equalization and bias correction), eq. 11: where r1 is the
range of the weights that make a channel and r2 that of the weights that read it, with s = sqrt(r1 r2) / r2 the first
are divided by s and the second multiplied by it, after which both ranges are sqrt(r1 r2). Here a channel may have many
makers and readers, as those of a residual stream have, and a range is the largest of theirs.

Scales are powers of two, so that in fp32 every product stays the same to the bit. What is left unequal is less than a
factor of two, by which int8 loses next to nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.graph import reads
from titrant.runtime.backends.onnxruntime.normalize import add_constant, constants_of
from titrant.runtime.backends.onnxruntime.titration.channels import Channels, Factor, Group
from titrant.runtime.backends.onnxruntime.titration.follow import Follower
from titrant.schema.values.frozen import dataclass

# Passes over all groups, and the change of a scale, in powers of two, from which on another one is made.
_PASSES, _SETTLED = 60, 1e-3
# A scale beyond is that of a channel that carries next to nothing, and would leave what fp32 holds exactly.
_MOST = 20.0
# A channel whose bias is so many times larger beside its weights than is usual is counted by its bias.
_BIASED = 8.0
# A scale that is short of a power of two by less has its exponent: passes end short of the balance.
_SHORT = 1e-2


@dataclass(frozen=True)
class Equalized:
    """What was done: groups whose channels were scaled, how many channels, and groups left alone by reason.

    `spread` is the largest ratio of two channels' scales in a group.
    """

    groups: int
    channels: int
    left: Mapping[str, int]
    spread: float


def equalize(model: onnx.ModelProto) -> Equalized:
    """Scale the channels of a typed and folded graph without `Constant` nodes, in place; by powers of two alone."""
    follower = Follower(model)
    channels, groups = follower.channels, follower.channels.groups()
    left: dict[str, int] = {}
    for group in groups:
        if group.reason:
            left[group.reason] = left.get(group.reason, 0) + 1
    free = [group for group in groups if not group.reason]
    exponents = _settled(channels, free, _magnitudes(model, channels.factors))
    moved = [np.ptp(exponents[group.channels]) for group in free if exponents[group.channels].any()]
    count = sum(int(np.count_nonzero(exponents[group.channels])) for group in free)
    if count:
        _apply(model, channels, exponents)
    return Equalized(len(moved), count, dict(sorted(left.items())), float(2 ** max(moved, default=0.0)))


@dataclass(frozen=True)
class _Weights:
    """The largest magnitudes of a factor, as powers of two, with the channels as they lie among them."""

    logarithms: np.ndarray  # of as many dimensions as the constant; -inf for zero
    inputs: np.ndarray | None
    outputs: np.ndarray | None

    def now(self, exponents: np.ndarray) -> np.ndarray:
        """Return the logarithms under some scales."""
        scaled = self.logarithms
        if self.inputs is not None:
            scaled = scaled + exponents[self.inputs]
        return scaled if self.outputs is None else scaled - exponents[self.outputs]


def _magnitudes(model: onnx.ModelProto, factors: Sequence[Factor]) -> list[_Weights]:
    """Reduce each constant to the largest magnitude for every place that differs in its channels."""
    constants = constants_of(model)
    reduced = []
    for factor in factors:
        values = np.abs(np.broadcast_to(numpy_helper.to_array(constants[factor.constant]), factor.shape))
        ends = [end for end in (factor.inputs, factor.outputs) if end is not None]
        alike = tuple(axis for axis in range(values.ndim) if all(end.shape[axis] == 1 for end in ends))
        with np.errstate(divide="ignore"):
            logarithms = np.log2(values.max(alike, keepdims=True, initial=0).astype(np.float64))
        reduced.append(_Weights(logarithms, factor.inputs, factor.outputs))
    return reduced


def _settled(channels: Channels, groups: Sequence[Group], weights: Sequence[_Weights]) -> np.ndarray:
    """Return the scale of every channel as a power of two: (channels,), 0 for those that stay."""
    roots = channels.roots()
    weights = [_Weights(each.logarithms, _of(roots, each.inputs), _of(roots, each.outputs)) for each in weights]
    exponents = np.zeros(len(roots))
    multiplies = [factor.multiplies for factor in channels.factors]
    floors = [_bias_floors(group, weights, multiplies, len(roots)) for group in groups]
    for _ in range(_PASSES):
        largest = 0.0
        for group, floor in zip(groups, floors, strict=True):
            made, read = _ranges(group, weights, multiplies, exponents)
            made = np.maximum(made, floor - exponents[group.channels])
            step = _step(made, read)
            step *= 0.5 if _reads_itself(group, weights, multiplies) else 1.0
            before = exponents[group.channels]
            exponents[group.channels] = np.clip(before + step, -_MOST, _MOST)
            largest = max(largest, float(np.abs(exponents[group.channels] - before).max(initial=0.0)))
        if largest < _SETTLED:
            break
    for group, floor in zip(groups, floors, strict=True):
        scales = exponents[group.channels]
        made, _ = _ranges(group, weights, multiplies, exponents)
        carries = np.isfinite(np.maximum(made, floor))
        if not group.anchored and carries.any():
            # What all channels of a stream have in common changes no range beside another's.
            scales = np.where(carries, scales - np.median(scales[carries]), 0.0)
        # Toward 1, so that no two channels come to lie further apart than they did.
        exponents[group.channels] = np.trunc(scales + np.sign(scales) * _SHORT) + 0.0
    return exponents[roots] if len(roots) else exponents


def _of(roots: np.ndarray, channels: np.ndarray | None) -> np.ndarray | None:
    return None if channels is None else roots[channels]


def _ranges(
    group: Group, weights: Sequence[_Weights], multiplies: Sequence[bool], exponents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return r1 and r2 of a group's channels as powers of two, -inf for none."""
    made = np.full(len(exponents), -np.inf)
    read = np.full(len(exponents), -np.inf)
    for place in group.factors:
        if multiplies[place]:
            each = weights[place]
            scaled = each.now(exponents)
            _largest(made, scaled, each.outputs)
            _largest(read, scaled, each.inputs)
    return made[group.channels], read[group.channels]


def _largest(held: np.ndarray, values: np.ndarray, channels: np.ndarray | None) -> None:
    """Let each channel hold the largest of its own values, in place."""
    if channels is None:
        return
    alike = tuple(axis for axis in range(values.ndim) if channels.shape[axis] == 1)
    reduced = values.max(alike, keepdims=True)
    np.maximum.at(held, np.broadcast_to(channels, reduced.shape).ravel(), reduced.ravel())


def _bias_floors(group: Group, weights: Sequence[_Weights], multiplies: Sequence[bool], count: int) -> np.ndarray:
    """Return a least r1 for each channel, as a power of two: a channel without variance has a bias all the same.

    Growing it until its weights are as large as others' would let its bias be larger than all that the others carry.
    """
    made, _ = _ranges(group, weights, multiplies, np.zeros(count))
    added = np.full(count, -np.inf)
    for place in group.factors:
        if not multiplies[place]:
            _largest(added, weights[place].logarithms, weights[place].outputs)
    floors = added[group.channels]
    usual = np.isfinite(floors) & np.isfinite(made)
    if not usual.any():
        return floors
    return floors - np.median(floors[usual] - made[usual]) - np.log2(_BIASED)


def _step(made: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Return log2 sqrt(r1 / r2); a channel that nothing reads is taken to be read as is usual, an empty one stays."""
    if not np.isfinite(read).any() or not np.isfinite(made).any():
        return np.zeros(len(made))
    read = np.where(np.isfinite(read), read, np.median(read[np.isfinite(read)]))
    return np.where(np.isfinite(made), (made - read) / 2, 0.0)


def _reads_itself(group: Group, weights: Sequence[_Weights], multiplies: Sequence[bool]) -> bool:
    """Whether a layer reads and makes channels of one group, so that half a step is as far as both ends may go."""
    for place in group.factors:
        each = weights[place]
        if multiplies[place] and each.inputs is not None and each.outputs is not None:
            ends = [np.isin(end, group.channels).any() for end in (each.inputs, each.outputs)]
            if all(ends):
                return True
    return False


def _apply(model: onnx.ModelProto, channels: Channels, exponents: np.ndarray) -> None:
    """Scale the constants; one that others read as well is not touched, and a copy takes its place."""
    constants, nodes = constants_of(model), {node.name: node for node in model.graph.node}
    readers = Counter(name for node in model.graph.node for name in reads(node))
    readers.update(output.name for output in model.graph.output)
    for factor in channels.factors:
        power = np.zeros((1,) * len(factor.shape))
        if factor.inputs is not None:
            power = power + exponents[factor.inputs]
        if factor.outputs is not None:
            power = power - exponents[factor.outputs]
        if not power.any():
            continue
        tensor, node = constants[factor.constant], nodes[factor.node]
        whole = np.broadcast_to(numpy_helper.to_array(tensor), factor.shape)
        scaled = (whole * np.exp2(power)).astype(np.float32)
        if readers[tensor.name] == 1 and node.input[factor.place] == tensor.name:
            tensor.CopyFrom(numpy_helper.from_array(np.array(scaled, order="C"), tensor.name))
        else:
            node.input[factor.place] = add_constant(model, scaled, tensor.name)
            readers[tensor.name] -= 1
    kept = [tensor for tensor in model.graph.initializer if readers[tensor.name] or tensor.name not in constants]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)

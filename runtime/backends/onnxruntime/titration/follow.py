"""Follow channels through a graph: what scales with its input, what multiplies by weights, and where they end."""

import math
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.graph import STANDARD, opset, reads
from titrant.runtime.backends.onnxruntime.normalize import constants_of, setting
from titrant.runtime.backends.onnxruntime.titration.channels import ANSWER, Channels, Factor, Tracked, dimensions

# Answers that a positive scale of the input multiplies, place by place: f(s x) = s f(x) for s > 0.
_SAME = ("Abs", "Dropout", "Identity", "LeakyRelu", "Neg", "Relu")
_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
_REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")
_TIES = ("Max", "Min", "Sum")
# What asks for no value of a tensor.
_SHAPES = ("Shape", "Size")
_CHANNEL_AXIS = 1
_MATRIX = 2
_LEAST_RESHAPED = 2
SHARED = "shared_weight"


class Follower:
    """Goes through the nodes of a typed graph, and notes how the channels of its tensors hang together.

    A tensor that is not noted has the scale 1. What no rule knows lets its inputs have the scale 1, by its name.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.channels = Channels()
        self._tensors = self.channels.tensors
        self._constants = constants_of(model)
        self._shapes = dimensions(model.graph)
        self._opset = opset(model)
        self._readers = Counter(name for node in model.graph.node for name in node.input)
        self._readers.update(output.name for output in model.graph.output)
        self._readers.update(name for node in model.graph.node for name in reads(node) - set(node.input))
        self._rules: Mapping[str, Callable[[onnx.NodeProto], bool]] = {
            **dict.fromkeys(_SAME, self._same),
            **dict.fromkeys(_POOLS, self._pool),
            **dict.fromkeys(_REDUCTIONS, self._reduction),
            **dict.fromkeys(_TIES, self._tie),
            **dict.fromkeys(_SHAPES, lambda _: True),
            **{"Add": self._sum, "Sub": self._sum, "Mul": self._product, "Div": self._product, "PRelu": self._product},
            **{"Conv": self._convolution, "ConvTranspose": self._convolution},
            **{"MatMul": self._matrix, "Gemm": self._matrix, "BatchNormalization": self._normalization},
            **{"Clip": self._clip, "Pad": self._pad, "Resize": self._resize, "Upsample": self._resize},
            **{"Reshape": self._reshape, "Flatten": self._reshape, "Squeeze": self._reshape},
            **{"Unsqueeze": self._reshape, "Transpose": self._transpose},
            **{"Concat": self._concat, "Slice": self._slice, "Split": self._split, "Gather": self._gather},
        }
        for node in model.graph.node:
            rule = self._rules.get(node.op_type) if node.domain in STANDARD else None
            if rule is None or len(reads(node)) > len(set(node.input)) or not rule(node):
                self.channels.fix(reads(node), node.op_type)
        self.channels.fix([output.name for output in model.graph.output], ANSWER)

    def _first(self, node: onnx.NodeProto) -> Tracked | None:
        return self._tensors.get(node.input[0])

    def _rank(self, name: str) -> int | None:
        shape = self._shapes.get(name)
        return None if shape is None else len(shape)

    def _floats(self, name: str) -> onnx.TensorProto | None:
        """Return a constant in fp32."""
        tensor = self._constants.get(name)
        return tensor if tensor is not None and tensor.data_type == onnx.TensorProto.FLOAT else None

    def _array(self, name: str) -> np.ndarray | None:
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def _integers(self, node: onnx.NodeProto, name: str, place: int) -> tuple[int, ...] | None:
        """Return what stood in an attribute and came to be an operand; () where there is neither, None if computed."""
        given = setting(node, name, None)
        if given is not None:
            return tuple(given) if isinstance(given, list | tuple) else (int(given),)
        if len(node.input) <= place or not node.input[place]:
            return ()
        array = self._array(node.input[place])
        return None if array is None else tuple(int(number) for number in array.ravel())

    # What scales as its input does.

    def _same(self, node: onnx.NodeProto) -> bool:
        tracked = self._first(node)
        if tracked is not None:
            self._tensors[node.output[0]] = tracked
        return True

    def _pool(self, node: onnx.NodeProto) -> bool:
        tracked = self._first(node)
        return tracked is None or (tracked.axis == _CHANNEL_AXIS and len(node.output) == 1 and self._same(node))

    def _clip(self, node: onnx.NodeProto) -> bool:
        """Take a Clip from 0 on without an end, which is a Relu."""
        low, high = (setting(node, name, None) for name in ("min", "max"))
        operands = [self._array(name) for name in node.input[1:]]
        if any(name and operand is None for name, operand in zip(node.input[1:], operands, strict=True)):
            return False
        low = operands[0] if operands and operands[0] is not None else low
        high = operands[1] if len(operands) > 1 and operands[1] is not None else high
        endless = high is None or float(high) >= float(np.finfo(np.float32).max)
        return self._first(node) is None or (endless and low is not None and float(low) == 0 and self._same(node))

    def _reduction(self, node: onnx.NodeProto) -> bool:
        tracked, axes = self._first(node), self._integers(node, "axes", 1)
        rank = self._rank(node.input[0])
        if tracked is None:
            return True
        if not axes or rank is None or tracked.axis in (whole := {axis % rank for axis in axes}):
            return False
        before = 0 if setting(node, "keepdims", 1) else sum(axis < tracked.axis for axis in whole)
        self._tensors[node.output[0]] = Tracked(tracked.channels, tracked.axis - before)
        return True

    def _pad(self, node: onnx.NodeProto) -> bool:
        """Add channels of zeros, which any scale fits, or leave the channels as they are."""
        tracked, rank, pads = self._first(node), self._rank(node.input[0]), self._integers(node, "pads", 1)
        if tracked is None:
            return True
        named = len(node.input) > 3 and node.input[3]
        if rank is None or pads is None or named or len(pads) != 2 * rank:
            return False
        before, after = pads[tracked.axis], pads[rank + tracked.axis]
        kind = setting(node, "mode", b"constant")
        value = setting(node, "value", 0.0)
        if len(node.input) > 2 and node.input[2]:
            computed = self._array(node.input[2])
            value = 1.0 if computed is None else float(computed.ravel()[0])
        if min(before, after) < 0 or (value and kind == b"constant") or (before + after and kind != b"constant"):
            return False
        parts = [self.channels.new(before), tracked.channels, self.channels.new(after)]
        self._tensors[node.output[0]] = Tracked(np.concatenate(parts), tracked.axis)
        return True

    def _resize(self, node: onnx.NodeProto) -> bool:
        tracked, shape = self._first(node), self._shapes.get(node.output[0])
        whole = tracked is None or (shape is not None and shape[tracked.axis] == len(tracked.channels))
        return whole and self._same(node)

    # What moves channels to other places.

    def _reshape(self, node: onnx.NodeProto) -> bool:
        """Let each number keep its channel; where they then do not lie along one axis, nothing is known."""
        tracked, before, after = self._first(node), self._shapes.get(node.input[0]), self._shapes.get(node.output[0])
        if tracked is None:
            return True
        if before is None or after is None or min(len(before), len(after)) < _LEAST_RESHAPED or tracked.axis == 0:
            return False
        inner, made = ([size for size in shape[1:] if size is not None] for shape in (before, after))
        free = len(inner) + 1 < len(before) or len(made) + 1 < len(after)
        if free or math.prod(inner) != math.prod(made):
            return False
        axes = [1] * len(inner)
        axes[tracked.axis - 1] = -1
        numbers = np.broadcast_to(tracked.channels.reshape(axes), inner).reshape(made)
        for axis in range(numbers.ndim):
            along = np.moveaxis(numbers, axis, 0).reshape(numbers.shape[axis], -1)
            if (along == along[:, :1]).all():
                self._tensors[node.output[0]] = Tracked(along[:, 0].copy(), axis + 1)
                return True
        return False

    def _transpose(self, node: onnx.NodeProto) -> bool:
        tracked, rank = self._first(node), self._rank(node.input[0])
        if tracked is None:
            return True
        order = setting(node, "perm", None) or (list(range(rank))[::-1] if rank is not None else None)
        if order is None:
            return False
        self._tensors[node.output[0]] = Tracked(tracked.channels, list(order).index(tracked.axis))
        return True

    def _concat(self, node: onnx.NodeProto) -> bool:
        """Lay channels side by side; those of a part that is not noted, such as an input's, have the scale 1."""
        held = [self._tensors[name] for name in node.input if name in self._tensors]
        rank = self._rank(node.output[0])
        if not held:
            return True
        axis = held[0].axis
        if rank is None or any(part.axis != axis for part in held):
            return False
        if setting(node, "axis", 0) % rank != axis:
            return len(held) == len(node.input) and self._joined(node)
        parts = [self._beside(name, axis, node.op_type) for name in node.input]
        if any(part is None for part in parts):
            return False
        self._tensors[node.output[0]] = Tracked(np.concatenate([part for part in parts if part is not None]), axis)
        return True

    def _beside(self, name: str, axis: int, reason: str) -> np.ndarray | None:
        """Return a part's channels along an axis, new ones of scale 1 if it has none; None if their number is free."""
        if name in self._tensors:
            return self._tensors[name].channels
        shape = self._shapes.get(name)
        if name in self._constants:
            shape = tuple(self._constants[name].dims)
        if shape is None or shape[axis] is None:
            return None
        channels = self.channels.new(int(shape[axis] or 0))
        self.channels.fixed.append((channels, reason))
        return channels

    def _slice(self, node: onnx.NodeProto) -> bool:
        tracked, rank = self._first(node), self._rank(node.input[0])
        if tracked is None:
            return True
        parts = [self._integers(node, name, place) for place, name in enumerate(("starts", "ends", "axes", "steps"), 1)]
        starts, ends, axes, steps = parts
        if rank is None or not starts or not ends or axes is None or steps is None:
            return False
        taken = tracked.channels
        for start, end, axis, step in zip(
            starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True
        ):
            if axis % rank == tracked.axis:
                if step < 0:
                    return False
                taken = taken[slice(start, end, step)]
        self._tensors[node.output[0]] = Tracked(taken, tracked.axis)
        return True

    def _split(self, node: onnx.NodeProto) -> bool:
        tracked, rank = self._first(node), self._rank(node.input[0])
        if tracked is None:
            return True
        if rank is None:
            return False
        if setting(node, "axis", 0) % rank != tracked.axis:
            self._tensors |= dict.fromkeys(node.output, tracked)
            return True
        sizes = [(self._shapes.get(name) or (None,) * rank)[tracked.axis] for name in node.output]
        whole = [size for size in sizes if size is not None]
        if len(whole) < len(sizes) or sum(whole) != len(tracked.channels):
            return False
        for name, end, size in zip(node.output, np.cumsum(whole), whole, strict=True):
            self._tensors[name] = Tracked(tracked.channels[end - size : end], tracked.axis)
        return True

    def _gather(self, node: onnx.NodeProto) -> bool:
        tracked, rank, indices = self._first(node), self._rank(node.input[0]), self._array(node.input[1])
        if tracked is None:
            return node.input[1] not in self._tensors
        if rank is None or indices is None:
            return False
        axis = setting(node, "axis", 0) % rank
        if axis != tracked.axis:
            moved = indices.ndim - 1 if axis < tracked.axis else 0
            self._tensors[node.output[0]] = Tracked(tracked.channels, tracked.axis + moved)
            return True
        if indices.ndim != 1:
            return False
        self._tensors[node.output[0]] = Tracked(tracked.channels[indices], tracked.axis)
        return True

    # What several tensors meet in.

    def _tie(self, node: onnx.NodeProto) -> bool:
        met = [name in self._tensors for name in node.input]
        return not any(met) or (all(met) and self._joined(node))

    def _joined(self, node: onnx.NodeProto) -> bool:
        """Give tensors that are taken together one scale for each channel."""
        parts = [self._tensors[name] for name in node.input]
        first = parts[0]
        ranks = {self._rank(name) for name in node.input}
        alike = all(part.axis == first.axis and len(part.channels) == len(first.channels) for part in parts)
        if not alike or len(ranks) > 1 or None in ranks:
            return False
        for part in parts[1:]:
            self.channels.join(first.channels, part.channels)
        self._tensors[node.output[0]] = first
        return True

    def _sum(self, node: onnx.NodeProto) -> bool:
        """Tie two tensors, or scale the constant that is added to one."""
        met = [name in self._tensors for name in node.input]
        if all(met) or not any(met):
            return not any(met) or self._joined(node)
        place = met.index(False)
        tracked = self._tensors[node.input[1 - place]]
        return self._added(node, place, tracked, self._rank(node.input[1 - place])) and self._passed(node, tracked)

    def _passed(self, node: onnx.NodeProto, tracked: Tracked) -> bool:
        self._tensors[node.output[0]] = tracked
        return True

    def _product(self, node: onnx.NodeProto) -> bool:
        """Multiply or divide by what has the scale 1: constants, and gates such as those of squeeze and excitation."""
        met = [name in self._tensors for name in node.input]
        if not any(met):
            return True
        if all(met) or (node.op_type != "Mul" and not met[0]):
            return False
        tracked = self._tensors[node.input[met.index(True)]]
        rank, other = self._rank(node.input[met.index(True)]), self._shapes.get(node.input[met.index(False)])
        if rank is None or other is None or len(other) > rank:
            return False
        along = other[tracked.axis - rank] if len(other) >= rank - tracked.axis else 1
        return along in (1, len(tracked.channels)) and self._passed(node, tracked)

    def _added(self, node: onnx.NodeProto, place: int, tracked: Tracked, rank: int | None) -> bool:
        """Note a constant that is added, or a bias, broadcast to a number for each channel."""
        tensor = self._floats(node.input[place])
        if tensor is None or rank is None or len(tensor.dims) > rank:
            return False
        shape = (1,) * (rank - tracked.axis - len(tensor.dims)) + tuple(tensor.dims)
        axis = len(shape) - (rank - tracked.axis)
        if shape[axis] not in (1, len(tracked.channels)):
            return False
        whole = (*shape[:axis], len(tracked.channels), *shape[axis + 1 :])
        lying = tracked.channels.reshape([-1 if at == axis else 1 for at in range(len(whole))])
        self.channels.factors.append(Factor(node.name, place, tensor.name, whole, None, lying, multiplies=False))
        return True

    # What multiplies by weights.

    def _weighted(
        self, node: onnx.NodeProto, place: int, lying: tuple[np.ndarray | None, np.ndarray], made: Tracked
    ) -> bool:
        """Note a layer's weights, of channels that it reads and makes as they lie in the weight, and its answer."""
        name = node.input[place]
        self._tensors[node.output[0]] = made
        if self._readers[name] > 1:
            self.channels.fix([node.input[0], node.output[0]], SHARED)
            return True
        shape = tuple(self._constants[name].dims)
        self.channels.factors.append(Factor(node.name, place, name, shape, *lying, multiplies=True))
        return True

    def _biased(self, node: onnx.NodeProto, place: int, rank: int) -> bool:
        """Note the bias of a layer whose answer is noted; one that is computed lets the answer have the scale 1."""
        if len(node.input) > place and node.input[place]:
            made = self._tensors[node.output[0]]
            if node.input[place] in self._tensors or not self._added(node, place, made, rank):
                self.channels.fix([node.input[place], node.output[0]], "computed_bias")
        return True

    def _convolution(self, node: onnx.NodeProto) -> bool:
        weight, tracked = self._floats(node.input[1]), self._first(node)
        if weight is None or (tracked is not None and tracked.axis != _CHANNEL_AXIS):
            return False
        first, second, *kernel = weight.dims
        groups = setting(node, "group", 1)
        transposed = node.op_type == "ConvTranspose"
        made = self.channels.new(second * groups if transposed else first)
        flat = (1,) * len(kernel)
        read = tracked.channels if tracked is not None else None
        if transposed:  # (inputs, outputs of a group, ...)
            lying = np.repeat(made.reshape(groups, second), first // groups, axis=0).reshape(first, second, *flat)
            along = read.reshape(first, 1, *flat) if read is not None else None
        else:  # (outputs, inputs of a group, ...)
            lying = made.reshape(first, 1, *flat)
            of_group = read.reshape(groups, second) if read is not None else None
            along = of_group if groups == 1 or of_group is None else np.repeat(of_group, first // groups, axis=0)
            along = along.reshape(-1, second, *flat) if along is not None else None
        self._weighted(node, 1, (along, lying), Tracked(made, _CHANNEL_AXIS))
        return self._biased(node, 2, _MATRIX)  # (outputs,)

    def _matrix(self, node: onnx.NodeProto) -> bool:
        weight, tracked, rank = self._floats(node.input[1]), self._first(node), self._rank(node.input[0])
        if weight is None or len(weight.dims) != _MATRIX or rank is None or setting(node, "transA", 0):
            return False
        if node.input[0] in self._constants or (tracked is not None and tracked.axis != rank - 1):
            return False
        transposed = setting(node, "transB", 0)
        made = self.channels.new(weight.dims[0 if transposed else 1])
        read = tracked.channels if tracked is not None else None
        if transposed:
            lying, along = made.reshape(-1, 1), read.reshape(1, -1) if read is not None else None
        else:
            lying, along = made.reshape(1, -1), read.reshape(-1, 1) if read is not None else None
        self._weighted(node, 1, (along, lying), Tracked(made, rank - 1))
        return self._biased(node, 2, rank)

    def _normalization(self, node: onnx.NodeProto) -> bool:
        """Take a normalization with fixed statistics as a product with one weight a channel; its mean is an input's."""
        tracked = self._first(node)
        constants = [tensor for name in node.input[1:] if (tensor := self._floats(name)) is not None]
        if len(constants) < len(node.input) - 1 or len(node.output) > 1:
            return False
        if tracked is not None and tracked.axis != _CHANNEL_AXIS:
            return False
        made = self.channels.new(constants[0].dims[0])
        read = tracked.channels if tracked is not None else None
        self._weighted(node, 1, (read, made), Tracked(made, _CHANNEL_AXIS))
        shape = tuple(constants[0].dims)
        self.channels.factors.append(Factor(node.name, 2, node.input[2], shape, None, made, multiplies=False))
        if read is not None:
            self.channels.factors.append(Factor(node.name, 3, node.input[3], shape, None, read, multiplies=False))
        return True

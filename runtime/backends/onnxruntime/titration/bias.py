"""Correct the biases of a quantized graph so that on average every layer answers as it did in float.

Nagel et al. 2019 (Data-free quantization through weight equalization and bias correction), section 4.2: rounding moves
the mean of a layer's answers by E[Ŵ x̂] - E[W x], channel by channel; that is taken from its bias. Layer after layer,
since each correction changes what the next ones read. As the means are those of calibration rows, no distribution is
assumed (there appendix D, empirical bias correction).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.calibration import Feeds, session_giving
from titrant.runtime.backends.onnxruntime.graph import STANDARD
from titrant.runtime.backends.onnxruntime.normalize import add_constant, constants_of
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.runtime.catalog import Context

_BIASED = ("Conv", "ConvTranspose", "Gemm")
_UNPACKS = "DequantizeLinear"
_BIAS = 2
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Corrected:
    """What was corrected: how many layers, and the largest shift of a channel's mean.

    The shift is relative to the root mean square of its layer's answers in float.
    """

    layers: int
    left: int
    largest_shift: float


def correct(
    model: onnx.ModelProto, plain: onnx.ModelProto, feeds: Feeds, plain_feeds: Feeds, context: "Context"
) -> Corrected:
    """Correct the biases of the layers of a QDQ graph, in place, against the float graph that it was made of.

    The nodes of both have the same names; each graph has its own feeds of the same rows. Left is a layer whose bias
    others read, or that has none and reads floats.
    """
    outputs = {node.name: node.output[0] for node in plain.graph.node if node.op_type in _BIASED}
    layers = [node for node in _quantized(model) if node.name in outputs]
    expected = _means(plain, [outputs[node.name] for node in layers], plain_feeds, context)
    corrected, largest = 0, 0.0
    for place, node in enumerate(layers):
        mean, magnitude = expected[outputs[node.name]]
        shift = _means(model, [node.output[0]], feeds, context)[node.output[0]][0] - mean
        if _move(model, node, -shift):
            corrected += 1
            largest = max(largest, float(np.abs(shift).max() / max(magnitude, 1e-30)))
        context.progress(place + 1, len(layers), "correcting")
    return Corrected(corrected, len(layers) - corrected, largest)


def _quantized(model: onnx.ModelProto) -> Sequence[onnx.NodeProto]:
    """List the convolutions and Gemms whose weights come out of a DequantizeLinear of a constant."""
    constants = constants_of(model)
    unpacked = {node.output[0] for node in model.graph.node if node.op_type == _UNPACKS and node.input[0] in constants}
    return [
        node
        for node in model.graph.node
        if node.op_type in _BIASED and node.domain in STANDARD and node.input[1] in unpacked
    ]


def _means(
    model: onnx.ModelProto, tensors: Sequence[str], feeds: Feeds, context: "Context"
) -> Mapping[str, tuple[np.ndarray, float]]:
    """Return the mean of each channel (axis 1) of some tensors over all rows, and the root mean square of all."""
    # As the file says: an optimized graph multiplies in integers, and has no such tensor.
    session = session_giving(model, tensors, context, optimized="off")
    sums: dict[str, Any] = dict.fromkeys(tensors, 0.0)
    squares, counts = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0)
    for feed in feeds():
        for name, array in zip(tensors, session.run(list(tensors), dict(feed)), strict=True):
            flat = np.moveaxis(array, 1, 0).reshape(array.shape[1], -1).astype(np.float64)
            sums[name] = sums[name] + flat.sum(1)
            squares[name] += float(np.square(flat).sum())
            counts[name] += flat.shape[1]
    return {
        name: (sums[name] / counts[name], float(np.sqrt(squares[name] / counts[name] / len(sums[name]))))
        for name in tensors
    }


def _move(model: onnx.ModelProto, node: onnx.NodeProto, by: np.ndarray) -> bool:
    """Add numbers to the bias of a layer; False where it has none that is its own and none can be given to it."""
    constants = constants_of(model)
    makers = {name: maker for maker in model.graph.node for name in maker.output}
    if len(node.input) <= _BIAS or not node.input[_BIAS]:
        return _give(model, node, by, constants, makers)
    unpacking = makers.get(node.input[_BIAS])
    held = unpacking.input[0] if unpacking is not None and unpacking.op_type == _UNPACKS else node.input[_BIAS]
    readers = sum(list(other.input).count(name) for other in model.graph.node for name in {held, node.input[_BIAS]})
    tensor = constants.get(held)
    if tensor is None or readers != (1 if held == node.input[_BIAS] else 2):
        return False
    values = numpy_helper.to_array(tensor)
    if unpacking is None:
        moved = (values + by).astype(np.float32)
    elif tensor.data_type != onnx.TensorProto.INT32 or unpacking.input[1] not in constants:
        return False
    else:
        moved = _whole(values + by / numpy_helper.to_array(constants[unpacking.input[1]]))
    tensor.CopyFrom(numpy_helper.from_array(moved, held))
    return True


def _whole(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(_INT32.min, _INT32.max).astype(np.int32)


def _give(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    bias: np.ndarray,
    constants: Mapping[str, onnx.TensorProto],
    makers: Mapping[str, onnx.NodeProto],
) -> bool:
    """Give a layer a bias of 32 bits on the scale of its products, which is how its int8 kernel takes one."""
    unpacking = [makers.get(name) for name in node.input[:_BIAS]]
    scales = [constants.get(each.input[1]) for each in unpacking if each is not None and each.op_type == _UNPACKS]
    if len(scales) < _BIAS or any(scale is None for scale in scales):
        return False
    given, weight = (numpy_helper.to_array(scale) for scale in scales if scale is not None)
    if given.size != 1:
        return False
    scale = np.broadcast_to((given.reshape(1) * weight.reshape(-1)).astype(np.float32), bias.shape)
    held = {f"{node.name}.bias_quantized": _whole(bias / scale), f"{node.name}.bias_quantized_scale": scale}
    names = [add_constant(model, values, name) for name, values in held.items()]
    made = f"{names[0]}_unpacked"
    place = next(at for at, other in enumerate(model.graph.node) if other.name == node.name)
    model.graph.node.insert(place, helper.make_node(_UNPACKS, names, [made], f"{node.name}_bias", axis=0))
    node = model.graph.node[place + 1]
    del node.input[_BIAS:]
    node.input.append(made)
    return True

"""What onnxruntime's static quantization or its int8 kernels get wrong, and how a graph is quantized without it."""

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.graph import STANDARD
from titrant.runtime.backends.onnxruntime.normalize import MATRIX, constants_of, setting

# QLinearSoftmax answers 0 throughout where its output's scale holds little more than equal shares; measured with
# onnxruntime 1.31 over 6 to 100 shares: from 1.5 times an equal share on it is right.
_SHARES = 2.0
# QLinearGlobalAveragePool fails where its output's scale is less than a 256th of its input's.
_MEANS = 100.0


def scaled_as_one(model: onnx.ModelProto) -> tuple[str, ...]:
    """Name the weights that can only have one scale for all their numbers.

    Those of a MatMul with batch axes, of one axis, or on its left, since kernels take a scale for each column of a
    matrix; and of a ConvTranspose in groups, whose channels are counted in each group.
    """
    constants = constants_of(model)
    names = dict[str, None]()
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name not in constants:
                continue
            columns = place == 1 and len(constants[name].dims) == MATRIX
            groups = node.op_type == "ConvTranspose" and place == 1 and setting(node, "group", 1) != 1
            if groups or (node.op_type == "MatMul" and not columns):
                names[name] = None
    return tuple(names)


def quantizable(model: onnx.ModelProto, operators: Collection[str]) -> list[str]:
    """Name the nodes of some operators that the tool may quantize.

    Left in fp32 is a Clip whose limits leave zero out, or are computed: the tool drops it, as if its output's range did
    what it does, and that range always holds zero.
    """
    constants = constants_of(model)
    return [
        node.name
        for node in model.graph.node
        if node.op_type in operators and node.domain in STANDARD and (node.op_type != "Clip" or _spans(node, constants))
    ]


def _spans(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    low, high = (_limit(node, place, constants) for place in (1, 2))
    return low is not None and high is not None and low <= 0 <= high


def _limit(node: onnx.NodeProto, place: int, constants: dict[str, onnx.TensorProto]) -> float | None:
    """Return a Clip's lower (1) or upper (2) limit, infinite where it has none; None for a computed one."""
    if len(node.input) <= place or not node.input[place]:
        return (-np.inf, np.inf)[place - 1]
    tensor = constants.get(node.input[place])
    return None if tensor is None else float(numpy_helper.to_array(tensor).reshape(-1)[0])


def widen_ranges(model: onnx.ModelProto, ranges: Any) -> None:
    """Widen measured ranges that int8 kernels cannot compute with, in onnxruntime's TensorsData, in place."""
    from onnxruntime.quantization.calibrate import TensorData

    sizes = {value.name: value.type.tensor_type.shape.dim for value in (*model.graph.value_info, *model.graph.output)}
    for node in model.graph.node:
        answer = _measured(ranges, node.output[0])
        if answer is None:
            continue
        low, high = answer
        if node.op_type == "Softmax":
            axis, dims = setting(node, "axis", -1), sizes.get(node.output[0], ())
            shares = dims[axis].dim_value if -len(dims) <= axis < len(dims) else 0
            high = max(high, min(1.0, _SHARES / shares) if shares else 1.0)
        elif node.op_type == "GlobalAveragePool" and (given := _measured(ranges, node.input[0])) is not None:
            least = (max(given[1], 0.0) - min(given[0], 0.0)) / _MEANS
            high = max(high, low + least, least) if high - low < least else high
        if (low, high) != answer:
            ranges.data[node.output[0]] = TensorData(lowest=np.float32(low), highest=np.float32(high))


def _measured(ranges: Any, name: str) -> tuple[float, float] | None:
    if name not in ranges.data:
        return None
    low, high = ranges.data[name].range_value
    return float(np.min(low)), float(np.max(high))

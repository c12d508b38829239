"""Measure what the layers of a model answer on some rows: broken, idle, saturated, hard to quantize."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.instruments.health.figures import decibels
from titrant.runtime.instruments.health.finding import AnswerFigures

if TYPE_CHECKING:
    import onnx
    import torch

    from titrant.runtime.instruments.calls.overhear import ForwardInputs

# Operations whose answers say something by themselves → what they are called, in torch and in ONNX graphs.
_OPERATIONS = {
    "aten::relu": "relu", "aten::relu_": "relu", "aten::hardtanh": "relu6", "aten::hardtanh_": "relu6",
    "aten::sigmoid": "sigmoid", "aten::sigmoid_": "sigmoid", "aten::tanh": "tanh", "aten::tanh_": "tanh",
    "aten::_softmax": "softmax", "aten::_safe_softmax": "softmax",
}  # fmt: skip
_NODES = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softmax": "softmax"}
_CUTS = ("relu", "relu6")
# From here on a value is flat in float32.
_FLAT = 1e-6
_CODES = 255
_IMAGE = 3


def answers_of_module(module: "torch.nn.Module", inputs: "ForwardInputs") -> tuple[AnswerFigures, ...]:
    """Call a module once and measure what each layer with weights, and each bounded activation, answers.

    They come in the order in which they answer. A layer that is called again counts once, but for NaN and infinity.
    """
    from titrant.runtime.instruments.calls.overhear import overhear, tensors_of
    from titrant.runtime.instruments.weights.of_module import own_tensors

    gathered = _Gathered()

    def answered(layer: str, part: "torch.nn.Module", answer: Any) -> None:
        tensors = tensors_of(answer)
        if own_tensors(part) and tensors and tensors[0].is_floating_point():
            gathered.axis = _axis(part, tensors[0].ndim)
            gathered.add(layer or type(part).__name__, "", _array(tensors[0]))

    def operated(layer: str, operation: str, operands: Mapping[str, Any], answer: Any) -> None:
        if operation in _OPERATIONS and operands["self"].is_floating_point():
            whole = getattr(module, "original_name", type(module).__name__)  # of a script that of its code
            gathered.add(layer or whole, _OPERATIONS[operation], _array(answer))

    overhear(module, inputs, answered=answered, operated=operated)
    return gathered.answers()


def answers_of_graph(model: "onnx.ModelProto", inputs: Mapping[str, np.ndarray]) -> tuple[AnswerFigures, ...]:
    """Run a graph and measure what each node with weights, and each bounded activation, answers, in their order."""
    from titrant.runtime.backends.onnxruntime.layer_names import GraphNames
    from titrant.runtime.instruments.calls.graph_call import graph_tensors_at
    from titrant.runtime.instruments.weights.of_graph import layer_of

    names = GraphNames.of(model.graph)
    own = {node.output[0]: node for node in model.graph.node if node.output}
    by_output = {node.output[0]: name for name, node in names.nodes.items() if node.output}
    asked = {
        tensor: (layer_of(names.weights.get(by_output[tensor], ""), by_output[tensor]), node)
        for tensor, node in own.items()
        if node.op_type in _NODES or by_output[tensor] in names.weights
    }
    gathered = _Gathered()
    for tensor, values in graph_tensors_at(model, inputs, asked):
        layer, node = asked[tensor]
        if values.dtype.kind == "f":
            if node.op_type not in _NODES:
                gathered.axis = 1 if values.ndim > _IMAGE or "Conv" in node.op_type else values.ndim - 1
            gathered.add(layer, _NODES.get(node.op_type, ""), values)
    return gathered.answers()


class _Gathered:
    """What was measured so far; `axis` is where the latest layer has its channels."""

    def __init__(self) -> None:
        self.axis = 1
        self._answers: dict[tuple[str, str], AnswerFigures] = {}

    def add(self, layer: str, operation: str, values: np.ndarray) -> None:
        """Measure an answer, or of a layer that answered before whether it is finite."""
        at = (layer, operation)
        if at not in self._answers or not np.isfinite(values.sum(dtype=np.float64)):
            self._answers[at] = measured(layer, operation, values, self.axis)

    def answers(self) -> tuple[AnswerFigures, ...]:
        """Return all of it, in the order in which it came."""
        return tuple(self._answers.values())


def measured(layer: str, operation: str, values: np.ndarray, axis: int) -> AnswerFigures:
    """Measure one answer, (rows, …) with its channels at `axis`."""
    values = values.astype(np.float32, copy=False)
    if not values.size:
        return AnswerFigures(layer, operation, 0, 0)
    axis = min(axis, values.ndim - 1)
    channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    nan, infinite = int(np.isnan(channels).sum()), int(np.isinf(channels).sum())
    if nan or infinite:
        return AnswerFigures(layer, operation, values.size, len(channels), nan, infinite)
    low, high = channels.min(axis=1), channels.max(axis=1)
    several = channels.shape[1] > 1
    ranges = np.maximum(np.abs(low), np.abs(high))
    active = ranges[ranges > 0]
    weighs = not operation and len(active) > 0
    return AnswerFigures(
        layer,
        operation,
        values.size,
        len(channels),
        minimum=float(low.min()),
        maximum=float(high.max()),
        idle=int((low == high).sum()) if several else 0,
        off=int((high <= 0).sum()) if operation in _CUTS and several else 0,
        saturated=_saturated(operation, values),
        tensor_db=_decibels(channels, float(low.min()), float(high.max())) if weighs else None,
        spread=float(active.max() / np.median(active)) if weighs else None,
    )


def _saturated(operation: str, values: np.ndarray) -> float:
    """Return the share of values at the flat ends of an activation; of softmax, of rows that are all but one."""
    if operation == "sigmoid":
        flat = (values < _FLAT) | (values > 1 - _FLAT)
    elif operation == "tanh":
        flat = np.abs(values) > 1 - _FLAT
    elif operation == "softmax" and values.shape[-1] > 1:
        flat = values.max(axis=-1) > 1 - _FLAT
    else:
        return 0.0
    return float(flat.mean())


def _decibels(channels: np.ndarray, low: float, high: float) -> float:
    """Return the signal-to-noise of 256 codes from the smallest value, or zero, to the largest."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / _CODES
    if step <= 0 or not np.isfinite(step):
        return decibels(1.0, 0.0)
    noise = channels / step
    noise -= np.rint(noise)
    noise *= step
    return decibels(float(np.square(channels, dtype=np.float64).sum()), float(np.square(noise, dtype=np.float64).sum()))


def _axis(part: "torch.nn.Module", dimensions: int) -> int:
    import torch

    spatial = (torch.nn.modules.conv._ConvNd, torch.nn.modules.batchnorm._NormBase, torch.nn.GroupNorm)
    return 1 if isinstance(part, spatial) or dimensions == 4 else dimensions - 1


def _array(tensor: "torch.Tensor") -> np.ndarray:
    array: np.ndarray = tensor.detach().float().cpu().numpy()
    return array

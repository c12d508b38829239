"""Count the parameters and FLOPs of an OpenVINO graph by its operations, for batches of a known shape."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.openvino.ir import IrModel, input_names, read
from titrant.runtime.backends.openvino.names import MULTIPLY, NO_NODES
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np
    import openvino

_CONSTANT = "Constant"
# What takes a bias, a scale or a position one by one.
_ELEMENTWISE = ("Add", "Subtract", "Multiply", "Divide", "PRelu")
# Where the weights of recurrent layers begin among their operands: what is before is state, and lengths.
_SEQUENCE_WEIGHTS = {"LSTMSequence": 4, "GRUSequence": 3, "RNNSequence": 3}
_FLOATS = ("f64", "f32", "f16", "bf16")


@dataclass(frozen=True)
class CountedOperation:
    """Numbers of the weights that an operation reads, their bytes, and its FLOPs for the batch; None: not known."""

    parameters: int
    parameter_bytes: int
    flops: int | None


def static_graph(model: IrModel, inputs: "Mapping[str, np.ndarray]") -> "openvino.Model":
    """Return a graph whose shapes are those of a batch; dimensions that depend on values stay free."""
    return reshaped(read(model), inputs)


def reshaped(graph: "openvino.Model", inputs: "Mapping[str, np.ndarray]") -> "openvino.Model":
    """Give a graph the shapes of a batch, in place, and return it."""
    shapes = {
        place: inputs[name].shape
        for place, name in enumerate(input_names(graph))
        if name in inputs and inputs[name].ndim
    }
    graph.reshape({place: list(shape) for place, shape in shapes.items()})
    return graph


def count_operations(model: IrModel, inputs: "Mapping[str, np.ndarray]") -> dict[str, CountedOperation]:
    """Return what each operation of a file holds and computes, by its name; a constant counts where it is read first.

    Weights that are unpacked count as many as come out, with the bytes that they are kept in, scales included. Products
    count two FLOPs per multiply-add, everything else none.
    """
    return count_graph(static_graph(model, inputs))


def count_graph(graph: "openvino.Model") -> dict[str, CountedOperation]:
    """Return what each operation of a graph holds and computes, as `count_operations`."""
    counted: dict[str, CountedOperation] = {}
    seen: set[str] = set()
    made_of: Constants = {}  # of each operation, the constants that it is made of alone
    for operation in graph.get_ordered_ops():
        name, kind = operation.get_friendly_name(), operation.get_type_name()
        makers = [made_of[value.get_node().get_name()] for value in operation.input_values()]
        fixed = [operation] if kind == _CONSTANT else [item for made in makers for item in made] if all(makers) else []
        made_of[operation.get_name()] = fixed
        if kind in NO_NODES or fixed:
            continue
        numbers = size = 0
        for value in _held(operation, made_of):
            fresh = [item for item in made_of[value.get_node().get_name()] if item.get_friendly_name() not in seen]
            seen |= {item.get_friendly_name() for item in fresh}
            numbers += math.prod(value.get_shape()) if fresh else 0
            size += sum(item.get_byte_size() for item in fresh)
        counted[name] = CountedOperation(numbers, size, _flops(operation))
    return counted


Constants = dict[str, "list[openvino.Node]"]


def _held(operation: "openvino.Node", made_of: Constants) -> "Iterator[openvino.Output]":
    """Yield the operands of an operation that are weights, biases or tables: numbers with fractions, more than one."""
    kind = operation.get_type_name()
    first = _SEQUENCE_WEIGHTS.get(kind, 0)
    for place, value in enumerate(operation.input_values()):
        shape = value.get_partial_shape()
        plain = (
            kind in (*MULTIPLY, *_ELEMENTWISE)
            and place >= first
            and value.get_element_type().get_type_name() in _FLOATS
        )
        if plain and shape.is_static and math.prod(shape.to_shape()) > 1 and made_of[value.get_node().get_name()]:
            yield value


def _flops(operation: "openvino.Node") -> int | None:
    """Return the FLOPs of an operation, 0 where it multiplies nothing; None where they cannot be known."""
    kind = operation.get_type_name()
    if kind in ("Loop", "TensorIterator", "If", "Einsum"):
        return None
    if kind not in _RULES:
        return 0
    ports = [*operation.input_values(), operation.output(0)]
    if not all(port.get_partial_shape().is_static for port in ports):
        return None
    shapes = [tuple(port.get_shape()) for port in ports]
    return 2 * _RULES[kind](shapes[:-1], shapes[-1], operation.get_attributes())


PortShape = tuple[int, ...]


def _product(given: Sequence[PortShape], answer: PortShape, about: Mapping[str, Any]) -> int:
    left = given[0]
    return math.prod(answer) * (left[-2] if about.get("transpose_a") and len(left) > 1 else left[-1])


def _attention(given: Sequence[PortShape], answer: PortShape, about: Mapping[str, Any]) -> int:
    query, key, value = given[:3]
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _sequence(given: Sequence[PortShape], answer: PortShape, about: Mapping[str, Any], first: int) -> int:
    """Count both weights (directions, gates · hidden, …), by which each case is multiplied at each step."""
    return given[0][0] * given[0][1] * (math.prod(given[first]) + math.prod(given[first + 1]))


_RULES: Mapping[str, Callable[[Sequence[PortShape], PortShape, Mapping[str, Any]], int]] = {
    "Convolution": lambda given, answer, _: math.prod(answer) * math.prod(given[1][1:]),
    "GroupConvolution": lambda given, answer, _: math.prod(answer) * math.prod(given[1][2:]),
    "ConvolutionBackpropData": lambda given, _, __: math.prod(given[0]) * math.prod(given[1][1:]),
    "GroupConvolutionBackpropData": lambda given, _, __: math.prod(given[0]) * math.prod(given[1][2:]),
    "MatMul": _product,
    "ScaledDotProductAttention": _attention,
    **{kind: partial(_sequence, first=first) for kind, first in _SEQUENCE_WEIGHTS.items()},
}

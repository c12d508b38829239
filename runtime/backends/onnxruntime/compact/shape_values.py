"""Compute while exporting what a traced graph would compute of its own sizes, which do not change from run to run.

The exporter writes a size as it was asked for: the shape of a tensor, a part of it, that part joined to others, each
with constants of its own; of attention's scale it writes the root. In a decoder these are two nodes of three, and a
tenth of a file of a megabyte.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.batch import inferred_shapes, without_values
from titrant.runtime.backends.onnxruntime.graph import STANDARD, reads

# What is the same at each of these batches is the same at all: a part of the first rows is not, nor a quotient.
_BATCHES = (1, 61, 10_007)
# Tensors with more numbers are no sizes.
_MOST_NUMBERS = 64
_INT64, _FLOAT = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT

# The shapes of tensors at one batch; the numbers of a small tensor at each of the batches.
ShapesByName = Mapping[str, tuple[int, ...]]
ValuesByBatch = tuple[np.ndarray, ...]


def fold_sizes(model: onnx.ModelProto) -> None:
    """Make constants of sizes, and of numbers made of them, that are the same at every batch; in place.

    A Reshape to the batch and sizes that are known takes over the batch: 0 where it is the same place of what it
    reads, else -1. Whole numbers that are equal are held once. Only graphs are folded whose inputs have known sizes
    beside the batch. No answer changes.
    """
    if any(node.op_type == "Shape" and node.domain in STANDARD for node in model.graph.node):
        shapes, values = _measured_at_batches(without_values(model))
        _fold(model.graph, shapes, values)
        _drop_unread(model.graph)
    _share(model.graph)
    _drop_unread(model.graph)


def _measured_at_batches(bare: onnx.ModelProto) -> tuple[Sequence[ShapesByName], dict[str, ValuesByBatch]]:
    """Return the shapes of tensors at each of the batches, and the numbers of small ones.

    Inference cannot compute all the sizes that it needs: those that were found are given to it again.
    """
    shapes: Sequence[ShapesByName] = [_shapes_at(bare, batch) for batch in _BATCHES]
    values: dict[str, ValuesByBatch] = {}
    while all(shapes):
        computed = _values(bare.graph, shapes)
        if len(computed) == len(values):
            break
        values = computed
        shapes = [_shapes_at(_given(bare, values, place), batch) for place, batch in enumerate(_BATCHES)]
    return shapes, values


def _given(bare: onnx.ModelProto, values: Mapping[str, ValuesByBatch], place: int) -> onnx.ModelProto:
    """Copy a graph with constants for what is computed of sizes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(bare)
    nodes = [
        _constant(node.output[0], values[node.output[0]][place], node.name) if node.output[0] in values else node
        for node in bare.graph.node
    ]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _fold(graph: onnx.GraphProto, shapes: Sequence[ShapesByName], values: Mapping[str, ValuesByBatch]) -> None:
    outputs = {value.name for value in graph.output}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        numbers = values.get(node.output[0])
        if numbers is not None and node.op_type != "Constant" and node.output[0] not in outputs and _same(numbers):
            nodes.append(_constant(node.output[0], numbers[0], node.name))
            continue
        if node.op_type == "Reshape" and node.domain in STANDARD:
            sizes = _taken_over(node, values.get(node.input[1]), [at_batch.get(node.input[0]) for at_batch in shapes])
            if sizes is not None:
                name = f"{node.output[0]}_sizes"
                nodes.append(_constant(name, sizes, name))
                node.input[1] = name
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _shapes_at(bare: onnx.ModelProto, batch: int) -> ShapesByName:
    """Infer the shapes with a batch; none where another size of an input is not known."""
    copy = onnx.ModelProto()
    copy.CopyFrom(bare)
    del copy.graph.value_info[:]
    for value in copy.graph.input:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_value = batch
            if size.dim_value < 1:
                return {}
    return inferred_shapes(copy)


def _same(numbers: ValuesByBatch) -> bool:
    whole = numbers[0].dtype == np.int64
    scalar = numbers[0].dtype == np.float32 and numbers[0].size == 1
    return (whole or scalar) and all(np.array_equal(numbers[0], other) for other in numbers[1:])


def _constant(output: str, numbers: np.ndarray, name: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [output], name, value=numpy_helper.from_array(np.asarray(numbers)))


def _taken_over(
    node: onnx.NodeProto, sizes: ValuesByBatch | None, given: Sequence[tuple[int, ...] | None]
) -> np.ndarray | None:
    """Return constant sizes for a Reshape of which one or more follow the batch; None where there are none."""
    if sizes is None or _same(sizes) or any(item.name == "allowzero" and item.i for item in node.attribute):
        return None
    taken: list[int] = []
    for place, numbers in enumerate(zip(*(array.tolist() for array in sizes), strict=True)):
        inputs = [shape[place] if shape is not None and place < len(shape) else None for shape in given]
        if len(set(numbers)) == 1:
            taken.append(numbers[0])
        else:
            taken.append(0 if list(numbers) == inputs else -1)
    return np.array(taken, np.int64) if taken.count(-1) <= 1 else None


def _values(graph: onnx.GraphProto, shapes: Sequence[ShapesByName]) -> dict[str, ValuesByBatch]:
    """Return the whole numbers of small tensors that follow from constants and from the shapes of others."""
    values: dict[str, ValuesByBatch] = {
        tensor.name: (numpy_helper.to_array(tensor),) * len(shapes)
        for tensor in graph.initializer
        if tensor.data_type == _INT64 and math.prod(tensor.dims) <= _MOST_NUMBERS
    }
    for node in graph.node:
        if node.domain not in STANDARD or len(node.output) != 1 or node.op_type not in (*_COMPUTED, "Shape"):
            continue
        if node.op_type == "Shape":
            given = [at_batch.get(node.input[0]) for at_batch in shapes]
            if None not in given:
                values[node.output[0]] = tuple(_measured(node, shape) for shape in given if shape is not None)
            continue
        operands = [values.get(name) for name in node.input if name]
        if None in operands or len(operands) != len(node.input):
            continue
        try:
            made = [_COMPUTED[node.op_type](node, *each) for each in _at_each(operands, len(shapes))]
        except (IndexError, ValueError):
            continue
        if all(array is not None and array.size <= _MOST_NUMBERS for array in made):
            values[node.output[0]] = tuple(np.asarray(array) for array in made)
    return values


def _at_each(operands: Sequence[ValuesByBatch | None], count: int) -> Iterator[list[np.ndarray]]:
    for place in range(count):
        yield [operand[place] for operand in operands if operand is not None]


def _measured(node: onnx.NodeProto, shape: tuple[int, ...]) -> np.ndarray:
    ends = {item.name: item.i for item in node.attribute}
    return np.array(shape[ends.get("start", 0) : ends.get("end", len(shape))], np.int64)


def _held(node: onnx.NodeProto) -> np.ndarray | None:
    [item] = node.attribute
    size = math.prod(item.t.dims)
    held = (item.t.data_type == _INT64 and size <= _MOST_NUMBERS) or (item.t.data_type == _FLOAT and size == 1)
    return numpy_helper.to_array(item.t) if item.name == "value" and held else None


def _cast(node: onnx.NodeProto, numbers: np.ndarray) -> np.ndarray | None:
    to = next(item.i for item in node.attribute if item.name == "to")
    if to == _FLOAT and numbers.dtype == np.int64:
        return numbers.astype(np.float32)
    return numbers if to == {np.dtype(np.int64): _INT64, np.dtype(np.float32): _FLOAT}.get(numbers.dtype) else None


def _root(_: onnx.NodeProto, numbers: np.ndarray) -> np.ndarray | None:
    return np.sqrt(numbers) if numbers.dtype == np.float32 and (numbers >= 0).all() else None


def _filled(node: onnx.NodeProto, shape: np.ndarray) -> np.ndarray | None:
    value = next((numpy_helper.to_array(item.t) for item in node.attribute if item.name == "value"), None)
    if value is None or value.dtype != np.int64 or math.prod(shape.tolist()) > _MOST_NUMBERS:
        return None
    return np.full(shape.tolist(), value.item(), np.int64)


def _part(_: onnx.NodeProto, numbers: np.ndarray, *ends: np.ndarray) -> np.ndarray | None:
    start, end = (int(array.reshape(-1)[0]) for array in ends[:2])
    step = int(ends[3].reshape(-1)[0]) if len(ends) > 3 else 1
    return numbers[start:end:step] if numbers.ndim == 1 and step > 0 else None


def _gathered(node: onnx.NodeProto, numbers: np.ndarray, places: np.ndarray) -> np.ndarray | None:
    axis = sum(item.i for item in node.attribute if item.name == "axis")
    return np.take(numbers, places, axis=0) if numbers.ndim == 1 and axis in (0, -1) else None


def _widened(_: onnx.NodeProto, numbers: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray | None:
    return numbers.reshape(1) if numbers.ndim == 0 and axes is not None else None


def _narrowed(_: onnx.NodeProto, numbers: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray | None:
    return numbers.reshape(()) if numbers.shape == (1,) else None


def _remainder(node: onnx.NodeProto, numbers: np.ndarray, by: np.ndarray) -> np.ndarray | None:
    return numbers % by if numbers.dtype == np.int64 and (numbers >= 0).all() and (by > 0).all() else None


def _quotient(_: onnx.NodeProto, numbers: np.ndarray, by: np.ndarray) -> np.ndarray | None:
    """Divide; of negative whole numbers ONNX cuts where NumPy rounds down."""
    if numbers.dtype != by.dtype or not ((numbers >= 0).all() and (by > 0).all()):
        return None
    return numbers / by if numbers.dtype == np.float32 else numbers // by


# How a node's numbers follow from those that it reads, each to the last bit (IEEE 754); None where they do not.
_COMPUTED: Mapping[str, Callable[..., np.ndarray | None]] = {
    "Constant": _held,
    "Identity": lambda _, numbers: numbers,
    "Cast": _cast,
    "Gather": _gathered,
    "Slice": _part,
    "Unsqueeze": _widened,
    "Squeeze": _narrowed,
    "Concat": lambda _, *parts: np.concatenate(parts) if all(part.ndim == 1 for part in parts) else None,
    "ConstantOfShape": _filled,
    "Add": lambda _, left, right: left + right,
    "Sub": lambda _, left, right: left - right,
    "Mul": lambda _, left, right: left * right,
    "Div": _quotient,
    "Mod": _remainder,
    "Sqrt": _root,
    "Equal": lambda _, left, right: left == right,
    "Where": lambda _, condition, left, right: np.asarray(np.where(condition, left, right)),
}


def _share(graph: onnx.GraphProto) -> None:
    """Let nodes that read equal whole numbers read the first."""
    first: dict[tuple[object, ...], str] = {}
    same: dict[str, str] = {}
    inner = {name for node in graph.node for name in reads(node) - set(node.input)}
    for node in graph.node:
        numbers = _held(node) if node.op_type == "Constant" and node.domain in STANDARD else None
        if numbers is not None and numbers.dtype == np.int64 and node.output[0] not in inner:
            same[node.output[0]] = first.setdefault((numbers.shape, numbers.tobytes()), node.output[0])
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Drop nodes whose answers nobody reads."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed |= reads(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))

"""Find where a graph with a free batch has one batch size written into it, and set it free, or say so by its inputs.

Exporters that trace a model with one row write that row's count into the sizes of a Reshape. Such a file opens, fails
on any other batch, or gives one row for many.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.graph import STANDARD, subgraphs

# Two batches that no other size of a graph is likely to follow.
_ONE, _SOME = 1, 61
# Tensors with more numbers are no sizes; inference does not look at their values.
_MOST_SIZES = 1024


def free_batch(model: onnx.ModelProto) -> tuple[str, ...]:
    """Write the batch back into a Reshape that has a number in its place, in place; returns what was done.

    Where another node holds on to a batch of one, the inputs say so from then on. Only graphs are looked at whose other
    sizes are known, and nothing is changed unless every output then has as many rows as are given.
    """
    names = _free_inputs(model)
    if not names:
        return ()
    bare = without_values(model)
    if _follows(bare, names) is not False:
        return ()
    by_row = _first_sizes(bare, names, _ONE) == [_ONE] * len(bare.graph.output)
    mended = _reshapes(model, bare, names)
    if mended and _follows(bare, names):
        for name, place, sizes in mended:
            node = model.graph.node[place]
            node.input[1] = name
            model.graph.initializer.append(numpy_helper.from_array(sizes, name))
        titles = ", ".join(model.graph.node[place].name or f"Reshape_{place}" for _, place, _ in mended)
        return (f"a batch size is written into {titles}: it is set free",)
    if not by_row:
        return ()
    for value in model.graph.input:
        if value.name in names:
            value.type.tensor_type.shape.dim[0].dim_value = _ONE
    return ("a batch of one row is written into its nodes: it answers row by row",)


def _free_inputs(model: onnx.ModelProto) -> frozenset[str]:
    """Name the inputs with a free batch; none where another of their sizes is not known."""
    held = {tensor.name for tensor in model.graph.initializer}
    names = set()
    for value in model.graph.input:
        sizes = value.type.tensor_type.shape.dim
        if value.name in held or not sizes:
            continue
        if not all(size.dim_value > 0 for size in sizes[1:]):
            return frozenset()
        if not sizes[0].HasField("dim_value"):
            names.add(value.name)
    return frozenset(names)


def _follows(model: onnx.ModelProto, names: frozenset[str]) -> bool | None:
    """Tell whether the outputs have the batch's size first; None where no output's shape says so."""
    alone, many = _first_sizes(model, names, _ONE), _first_sizes(model, names, _SOME)
    if alone is None and many is not None:
        return None
    if None in (*(alone or ()), *(many or ())):
        return None
    return alone == [_ONE] * len(model.graph.output) and many == [_SOME] * len(model.graph.output)


def _first_sizes(model: onnx.ModelProto, names: frozenset[str], batch: int) -> list[int | None] | None:
    """Return the first size of each output, None for one that is not known; None where sizes contradict each other."""
    graph = _inferred(_of_batch(model, names, batch))
    if graph is None:
        return None
    shapes = {value.name: _shape(value) for value in (*graph.input, *graph.output)}
    return [(shapes[value.name] or (None,))[0] for value in model.graph.output]


def _of_batch(model: onnx.ModelProto, names: frozenset[str], batch: int) -> onnx.ModelProto:
    """Copy a graph with a batch size at its inputs, and no shapes between these and its outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in copy.graph.input:
        if value.name in names:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    return copy


def inferred_shapes(model: onnx.ModelProto) -> Mapping[str, tuple[int, ...]]:
    """Infer the shapes that follow from those of the inputs; none where they contradict each other.

    What the graph says of its outputs is forgotten.
    """
    graph = _inferred(model)
    if graph is None:
        return {}
    shapes = {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    return {name: shape for name, shape in shapes.items() if shape is not None}


def _inferred(model: onnx.ModelProto) -> onnx.GraphProto | None:
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError):
        return None


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """Return the shape of a tensor; None where a size is not known."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or not all(size.HasField("dim_value") for size in tensor.shape.dim):
        return None
    return tuple(size.dim_value for size in tensor.shape.dim)


def _reshapes(
    model: onnx.ModelProto, bare: onnx.ModelProto, names: frozenset[str]
) -> list[tuple[str, int, np.ndarray]]:
    """Free every Reshape of the bare copy; returns for each the name and numbers of its new sizes, and its place."""
    mended = []
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    for place, node in enumerate(bare.graph.node):
        if node.op_type != "Reshape" or node.domain not in STANDARD:
            continue
        cut = onnx.ModelProto()
        cut.CopyFrom(bare)
        del cut.graph.node[place:], cut.graph.output[:]
        given = node.input[0]
        cut.graph.output.extend([helper.make_empty_tensor_value_info(given)])
        alone, many = (_given_shape(cut, given, names, batch) for batch in (_ONE, _SOME))
        sizes = _freed(_sizes(bare, node.input[1]), alone, many)
        if sizes is not None and not any(item.name == "allowzero" and item.i for item in node.attribute):
            name = next(name for name in _numbered(f"{node.input[1]}_free") if name not in taken)
            taken.add(name)
            bare.graph.initializer.append(numpy_helper.from_array(sizes, name))
            node.input[1] = name
            mended.append((name, place, sizes))
    return mended


def _given_shape(model: onnx.ModelProto, name: str, names: frozenset[str], batch: int) -> tuple[int, ...]:
    inputs = [value for value in model.graph.input if value.name == name]
    if inputs:
        sizes = [size.dim_value for size in inputs[0].type.tensor_type.shape.dim]
        return (batch if name in names else sizes[0], *sizes[1:])
    return inferred_shapes(_of_batch(model, names, batch)).get(name, ())


def _freed(sizes: Sequence[int] | None, alone: tuple[int, ...], many: tuple[int, ...]) -> np.ndarray | None:
    """Return sizes whose first is free; None where they are computed, or the first is no batch."""
    grows = bool(alone) and bool(many) and math.prod(many) == _SOME * math.prod(alone)
    if not sizes or sizes[0] < 1 or not grows:
        return None
    if -1 in sizes:
        batch_first = (alone[0], many[0]) == (_ONE, _SOME)
        return np.array([0, *sizes[1:]]) if batch_first else None
    batch, left = divmod(math.prod(sizes), math.prod(alone))
    return None if left or not batch or sizes[0] % batch else np.array([-1, *sizes[1:]])


def _sizes(model: onnx.ModelProto, name: str) -> Sequence[int] | None:
    """Return the numbers of a constant, held as an initializer or by a `Constant` node; None for a computed tensor."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] == name:
            for item in node.attribute:
                if item.name == "value":
                    tensors[name] = item.t
                elif item.name == "value_ints":
                    return tuple(item.ints)
    if name not in tensors or tensors[name].data_location == onnx.TensorProto.EXTERNAL:
        return None
    return numpy_helper.to_array(tensors[name]).reshape(-1).tolist()


def without_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a graph without the values of its weights."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for tensor in _held(bare.graph):
        if math.prod(tensor.dims) > _MOST_SIZES:
            for part in ("raw_data", "float_data", "double_data", "int32_data", "int64_data"):
                tensor.ClearField(part)
    return bare


def _held(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from (item.t for item in node.attribute if item.HasField("t"))
        for body in subgraphs(node).values():
            yield from _held(body)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1

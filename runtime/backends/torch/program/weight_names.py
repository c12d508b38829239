"""Turn the constants of an ONNX graph that torch wrote into weights that are named after the layers they are of.

A script that was frozen has its weights as constants of its code, and so has the graph: quantizers look for weights
among the initializers, and the names of nodes and weights are all that tells which layer a node computes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import numpy_helper  # noqa: TID253 - its very subject

if TYPE_CHECKING:
    import torch

# What only moves numbers: of constants, it is one.
_MOVES = ("Cast", "Concat", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
# What a wrapper puts before the names of weights, and before those of nodes.
_HELD, _CALLED = "module.", "/module/"
_WIDE = 2  # dimensions of a matrix
_RECURRENT = ("GRU", "LSTM", "RNN")
_MIXED = np.uint64(0x9E3779B97F4A7C15)


def name_weights(model: onnx.ModelProto, tensors: "Mapping[str, Mapping[str, torch.Tensor]]") -> None:
    """Make weights of a graph's constants, in place, and call those that layers hold after them: layer.weight.

    `tensors` are {layer: {name: tensor}}. A tensor is alike by its numbers, in whatever order: exporters transpose
    weights, and sort those of recurrent layers by gate. Of layers that hold the same numbers each names one, and, where
    they share a tensor, as equal constants of a script do, nodes.
    """
    _hold(model.graph)
    owners = {f"{layer}.{name}" for layer, own in tensors.items() for name in own}
    names: dict[tuple[int, int], list[str]] = {}
    for layer, own in tensors.items():
        for name, tensor in own.items():
            if tensor.ndim and tensor.is_floating_point():
                names.setdefault(_numbers(tensor.detach().float().numpy()), []).append(f"{layer}.{name}")
    held: dict[tuple[int, int], list[str]] = {}
    for tensor in _initializers(model.graph):
        if tensor.name not in owners and tensor.dims and tensor.data_type == onnx.TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            alike = next((numbers for numbers in map(_numbers, (array, array[0])) if numbers in names), None)
            if alike is not None:
                held.setdefault(alike, []).append(tensor.name)
    renamed: dict[str, str] = {}
    for numbers, alike_tensors in held.items():
        renamed |= _named(names[numbers], alike_tensors, model.graph)
    _rename(model.graph, _apart(renamed, {tensor.name for tensor in _initializers(model.graph)}))


def _named(names: Sequence[str], tensors: Sequence[str], graph: onnx.GraphProto) -> dict[str, str]:
    """Return {tensor: name} of tensors that hold the same numbers; name nodes, in place, that such weights leave alike.

    A script that was frozen calls its layers in the order in which the graph reads them. Of equal weights a tool makes
    one, too, and then only a node's own name tells its layer. The last name counts for all that are left.
    """
    wide = all(len(tensor.dims) >= _WIDE for tensor in _initializers(graph) if tensor.name in tensors)
    read = [(name, node) for node in nodes_of(graph) for name in node.input if name in tensors]
    says_no_module = all(node.name.rfind("/") == 0 for _, node in read)
    if not (wide and says_no_module and 1 < len(names) == len(read)):
        return {tensor: names[min(place, len(names) - 1)] for place, tensor in enumerate(tensors)}
    renamed: dict[str, str] = {}
    for name, (tensor, node) in zip(names, read, strict=True):
        renamed.setdefault(tensor, name)
        if node.name.rfind("/") == 0:  # else it reads two of its layer
            node.name = f"/{name.rpartition('.')[0]}{node.name}"
    return renamed


def unwrap_names(model: onnx.ModelProto) -> None:
    """Call weights and nodes, in place, as the module does that a wrapper holds under the name `module`.

    Nodes of a sequence have its name twice: /module/module.0/Gemm.
    """
    graph = model.graph
    values = {value.name for value in (*graph.input, *graph.output)}
    made = {name for node in graph.node for name in node.output}
    weights = {tensor.name for tensor in _initializers(graph)}
    held = {name: name.removeprefix(_HELD) for name in sorted(weights) if name.startswith(_HELD)}
    _rename(graph, _apart(held, values | made | weights))
    _rename_nodes(graph)


def _rename_nodes(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.name.startswith(_CALLED):
            node.name = "/" + node.name.removeprefix(_CALLED).removeprefix(_HELD)
        for inner in _graphs(node):
            _rename_nodes(inner)


def _apart(renamed: Mapping[str, str], taken: set[str]) -> dict[str, str]:
    """Number names that are taken."""
    apart: dict[str, str] = {}
    for old, name in renamed.items():
        free, place = name, 1
        while free in taken:
            free, place = f"{name}_{place}", place + 1
        apart[old] = free
        taken.add(free)
    return apart


def _numbers(array: np.ndarray) -> tuple[int, int]:
    """Return how many numbers an array holds, and a sum that is the same in whatever order they stand."""
    bits = np.ascontiguousarray(array, np.float32).reshape(-1).view(np.uint32).astype(np.uint64)
    with np.errstate(over="ignore"):
        mixed = (bits + np.uint64(1)) * _MIXED
        return array.size, int(np.sum(mixed ^ (mixed >> np.uint64(29)), dtype=np.uint64))


def _hold(graph: onnx.GraphProto, outer: Mapping[str, onnx.TensorProto] | None = None) -> None:
    """Write a graph's constants of one dimension or more as its weights, and what only moves constants, too."""
    constants = {**(outer or {}), **{tensor.name: tensor for tensor in graph.initializer}}
    answers = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        for inner in _graphs(node):
            _hold(inner, constants)
        tensor = None if answers.intersection(node.output) else _constant(node, constants)
        if tensor is None:
            kept.append(node)
            continue
        constants[tensor.name] = tensor
        graph.initializer.append(tensor)
    del graph.node[:]
    graph.node.extend(kept)
    _drop_unread(graph)


def _constant(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> onnx.TensorProto | None:
    """Return the tensor that a node always makes; None for what is computed of inputs, and for single numbers."""
    if node.op_type == "Constant":
        value = next((item.t for item in node.attribute if item.name == "value"), None)
        array = None if value is None or not value.dims else numpy_helper.to_array(value)
    elif node.op_type in _MOVES and all(name in constants for name in node.input if name) and len(node.output) == 1:
        array = _moved(node, [numpy_helper.to_array(constants[name]) for name in node.input if name])
    else:
        array = None
    return None if array is None or not array.ndim else numpy_helper.from_array(array, node.output[0])


def _moved(node: onnx.NodeProto, arrays: list[np.ndarray]) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator

    feeds = dict(zip([name for name in node.input if name], arrays, strict=True))
    answers: Any = ReferenceEvaluator(node).run(None, feeds)
    return np.asarray(answers[0])


def _drop_unread(graph: onnx.GraphProto) -> None:
    read = set(_read(graph))
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for inner in _graphs(node):
            yield from _read(inner)


def _graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [graph for item in node.attribute for graph in (*item.graphs, *([item.g] if item.HasField("g") else []))]


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield every node, and what stands in its branches behind it."""
    for node in graph.node:
        yield node
        for inner in _graphs(node):
            yield from nodes_of(inner)


def _initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for inner in _graphs(node):
            yield from _initializers(inner)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
        for inner in _graphs(node):
            _rename(inner, names)

"""Join fitted transforms and a model in one ONNX graph, which takes raw columns by name."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper, version_converter  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.columns_nodes import (
    ML,
    PREFIX,
    ColumnState,
    Nodes,
    apply_nodes,
    numbers_beside,
    onnx_type,
    refused,
    side_by_side,
)
from titrant.runtime.backends.onnxruntime.graph import LOWEST_OPSET, STANDARD, opset, reads, upgraded
from titrant.runtime.values import GRAPH, Fitted, Transforms
from titrant.schema.values.text import first_line

# The operator set of ai.onnx.ml in which text is encoded by one node.
_ML_OPSET = 2


def joined(model: onnx.ModelProto, transforms: Transforms, columns: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Return one graph of transforms and model; `columns` are rows of each raw column as the graph is to take them.

    Its inputs are the columns, by name: text (batch,) as text, numbers (batch,) as float64, or int64 where the model
    takes whole numbers, arrays (batch, …) in their own dtype; its outputs are the model's. The model's own nodes, and
    their names, stay as they are but for names that a column has. Raises StepError X243, naming what keeps the two
    apart.
    """
    model = upgraded(_copied(model))
    batch = _batch(model)
    nodes = Nodes()
    if transforms.by_graph:
        [step] = transforms.steps
        graph, model = _one_opset(_graph_of(step), model)
        made = _graph_nodes(graph, step, columns, nodes)
        _import_ml(model, graph)
    else:
        made = _column_nodes(transforms, columns, nodes)
        _import_ml(model, None)
    taken = {item.name: len(item.type.tensor_type.shape.dim) for item in model.graph.input}
    renamed = _make_way(model, columns)
    _feed(transforms, made, {name: (renamed.get(name, name), rank) for name, rank in taken.items()}, nodes)
    rest = list(model.graph.node)
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend([*_read(nodes.nodes, rest), *rest])
    needed = {name for node in model.graph.node for name in reads(node)}
    model.graph.initializer.extend(tensor for tensor in nodes.constants if tensor.name in needed)
    model.graph.input.extend(
        helper.make_tensor_value_info(name, onnx_type(str(column.dtype)), [batch, *column.shape[1:]])
        for name, column in columns.items()
    )
    return model


def _copied(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _batch(model: onnx.ModelProto) -> int | str:
    """Return the batch that the model insists on, else that it is free."""
    sizes = [
        item.type.tensor_type.shape.dim[0].dim_value
        for item in model.graph.input
        if item.type.tensor_type.shape.dim and item.type.tensor_type.shape.dim[0].HasField("dim_value")
    ]
    return min(sizes) if sizes else "batch"


def _column_nodes(transforms: Transforms, columns: Mapping[str, np.ndarray], nodes: Nodes) -> dict[str, ColumnState]:
    """Write every column as it comes, then what the transforms make of it."""
    states: dict[str, ColumnState] = {}
    for name, values in columns.items():
        dtype = str(values.dtype)
        if values.ndim > 1:
            states[name] = ColumnState(name, "array", dtype, values.shape[1:])
        elif dtype == "object":
            states[name] = ColumnState(name, "text", dtype, ())
        elif dtype == "int64":
            states[name] = ColumnState(name, "whole", dtype, ())
        else:
            wide = name if dtype == "float64" else nodes.cast(name, "float64")
            states[name] = ColumnState(wide, "number", dtype, (1,), flat=True)
    apply_nodes(transforms.steps, states, nodes)
    return states


def _feed(
    transforms: Transforms, made: Mapping[str, ColumnState], taken: Mapping[str, tuple[str, int]], nodes: Nodes
) -> None:
    """Write each input of the model: a constant, a column, or columns side by side.

    `taken` says of each of them what it is called in the graph, and how many dimensions it has.
    """
    for name, (target, rank) in taken.items():
        names, dtype = transforms.inputs.get(name), transforms.dtypes.get(name, "")
        if names is None:
            raise refused(f"nothing is made for the model's input {name}")
        if name in transforms.constants:
            if rank:
                raise refused(f"the model's input {name} is one number for each row, and the recipe gives one for all")
            value = np.asarray(transforms.constants[name], dtype=dtype)
            nodes.constants.append(numpy_helper.from_array(value, target))
        elif transforms.by_graph:
            nodes.cast(made[name].tensor, dtype, target)
        elif name in transforms.unstacked:
            nodes.cast(_single(made[names[0]], names[0], nodes), dtype, target)
        else:
            nodes.cast(_stacked([(column, made[column]) for column in names], nodes), dtype, target)


def _single(column: ColumnState, name: str, nodes: Nodes) -> str:
    if column.sort == "text":
        raise refused(f"{name} is text, and no transform makes numbers of it")
    if column.sort != "number" or column.flat:
        return column.tensor
    return nodes.add("Squeeze", [column.tensor, nodes.constant(np.array([1], np.int64))])


def _stacked(columns: Sequence[tuple[str, ColumnState]], nodes: Nodes) -> str:
    """Put columns side by side in float32, or in int64 where all are whole numbers, in their order.

    Numbers that lie side by side already, as the transforms left them, go in whole: their places are put right after.
    """
    if len(columns) == 1 and columns[0][1].sort == "array":
        return columns[0][1].tensor
    for name, column in columns:
        if column.sort == "text":
            raise refused(f"{name} is text, and no transform makes numbers of it")
    if all(column.sort == "whole" for _, column in columns):
        return side_by_side([_upright(column, nodes) for _, column in columns], nodes)
    numbers = [column for _, column in columns if column.sort == "number"]
    others = [column for _, column in columns if column.sort != "number"]
    parts = [nodes.cast(numbers_beside(numbers, nodes), "float32")] if numbers else []
    parts += [nodes.cast(_upright(column, nodes), "float32") for column in others]
    whole = side_by_side(parts, nodes)
    order = _order([column for _, column in columns], [*numbers, *others])
    if order == list(range(len(order))):
        return whole
    return nodes.add("Gather", [whole, nodes.constant(np.array(order, np.int64))], axis=1)


def _upright(column: ColumnState, nodes: Nodes) -> str:
    """Return a column as (batch, numbers of a row)."""
    if column.sort == "whole":
        return nodes.add("Unsqueeze", [column.tensor, nodes.constant(np.array([1], np.int64))])
    return column.tensor if len(column.shape) == 1 else nodes.add("Flatten", [column.tensor], axis=1)


def _order(needed: Sequence[ColumnState], given: Sequence[ColumnState]) -> list[int]:
    """Return, for the places of `needed` side by side, where they stand in `given` side by side."""
    starts: dict[int, int] = {}
    at = 0
    for column in given:
        starts[id(column)] = at
        at += _width(column)
    return [starts[id(column)] + offset for column in needed for offset in range(_width(column))]


def _width(column: ColumnState) -> int:
    sizes = [size for size in column.shape if isinstance(size, int)]
    return int(np.prod(sizes)) if sizes else 1


def _read(nodes: Sequence[onnx.NodeProto], rest: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes of which something is read: what was parted and then went on whole need not be parted."""
    kept: list[onnx.NodeProto] = []
    needed = {name for node in rest for name in reads(node)}
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed |= reads(node)
    return kept[::-1]


def _make_way(model: onnx.ModelProto, columns: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Rename what the model calls as a column is called; its inputs go, and its outputs keep their names."""
    answers = {item.name for item in model.graph.output}
    if clash := sorted(answers & {*columns}):
        raise refused(
            f"the column {clash[0]} is called as an output of the model is",
            "rename the column in a data factory, or write `transforms: beside`",
        )
    names = {name: f"{PREFIX}model/{name}" for name in columns}
    _rename(model.graph, names)
    return names


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename tensors wherever they are made, held or read, in graphs within too."""
    for part in (*graph.input, *graph.initializer, *graph.value_info, *graph.output):
        part.name = names.get(part.name, part.name)
    for node in graph.node:
        for ends in (node.input, node.output):
            for place, name in enumerate(ends):
                ends[place] = names.get(name, name)
        for item in node.attribute:
            for body in (*([item.g] if item.HasField("g") else []), *item.graphs):
                _rename(body, names)


def _graph_of(step: Fitted) -> onnx.ModelProto:
    assert step.name == GRAPH
    graph: onnx.ModelProto = onnx.load_from_string(step.arrays["graph"].tobytes())
    return graph


def _graph_nodes(
    graph: onnx.ModelProto, step: Fitted, columns: Mapping[str, np.ndarray], nodes: Nodes
) -> dict[str, ColumnState]:
    """Write the nodes of a graph of transforms, fed with columns; returns what it gives, by the model's input."""
    if graph.functions:
        raise refused("the graph of transforms holds functions of its own", "convert it without them")
    constants = {tensor.name for tensor in graph.graph.initializer}
    own = [item for item in graph.graph.input if item.name not in constants]
    names = {name: f"{PREFIX}{name}" for name in _tensors(graph.graph)}
    taken: Mapping[str, list[str]] = step.params["inputs"]
    _rename(graph.graph, names)
    for item in own:
        [before] = [name for name, new in names.items() if new == item.name]
        kind = item.type.tensor_type
        dtype = (
            "object" if kind.elem_type == onnx_type("object") else str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
        )
        _fed(taken[before], columns, (item.name, dtype, len(kind.shape.dim)), nodes)
    for place, node in enumerate(graph.graph.node):
        node.name = f"{PREFIX}graph_{place}"
    nodes.nodes += graph.graph.node
    nodes.constants += graph.graph.initializer
    needed: Mapping[str, str] = step.params["outputs"]
    return {name: ColumnState(names[output], "array", "", ()) for name, output in needed.items()}


def _fed(names: Sequence[str], columns: Mapping[str, np.ndarray], end: tuple[str, str, int], nodes: Nodes) -> None:
    """Write one input of the graph: a column in its type and rank, or several side by side."""
    target, dtype, rank = end
    parts = []
    for name in names:
        tensor = name
        if columns[name].ndim == 1 and rank == 2:
            tensor = nodes.add("Unsqueeze", [tensor, nodes.constant(np.array([1], np.int64))])
        parts.append(tensor)
    whole = side_by_side(parts, nodes) if len(parts) > 1 else parts[0]
    if dtype == "object":
        nodes.add("Identity", [whole], output=target)
    else:
        nodes.cast(whole, dtype, target)


def _tensors(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the name of every tensor of a graph and of those within it; an absent one has none."""
    for part in (*graph.input, *graph.initializer, *graph.output):
        yield part.name
    for node in graph.node:
        yield from (name for name in (*node.input, *node.output) if name)
        for item in node.attribute:
            for body in (*([item.g] if item.HasField("g") else []), *item.graphs):
                yield from _tensors(body)


def _one_opset(graph: onnx.ModelProto, model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Bring the one in the older operator set to that of the other."""
    newer = max(opset(graph), opset(model), LOWEST_OPSET)
    return (
        graph if opset(graph) == newer else _converted(graph, newer, "the graph of transforms"),
        model if opset(model) == newer else _converted(model, newer, "the model"),
    )


def _converted(model: onnx.ModelProto, version: int, what: str) -> onnx.ModelProto:
    try:
        return version_converter.convert_version(model, version)
    except (version_converter.ConvertError, RuntimeError) as error:
        raise refused(
            f"{what} is in operator set {opset(model)} and cannot be brought to {version}: {first_line(error)}",
            f"export it with opset {version}, or write `transforms: beside`",
        ) from None


def _import_ml(model: onnx.ModelProto, graph: onnx.ModelProto | None) -> None:
    """Import every operator set that the transforms use; one that both use in two versions is refused by name."""
    needed = {item.domain: item.version for item in graph.opset_import} if graph is not None else {ML: _ML_OPSET}
    there = {item.domain: item for item in model.opset_import}
    used = Counter(node.domain for node in model.graph.node)
    for domain, version in needed.items():
        if domain in STANDARD:
            continue
        if domain not in there:
            model.opset_import.append(helper.make_opsetid(domain, version))
        elif there[domain].version != version and used[domain] and graph is not None:
            raise refused(f"the model has {domain} {there[domain].version}, and the graph of transforms {version}")
        elif not used[domain] or there[domain].version < version:
            there[domain].version = version

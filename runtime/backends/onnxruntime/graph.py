"""Read and write ONNX files (the same graph gives the same bytes), and rewrite graphs as quantization needs them."""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - its very subject
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import (  # noqa: TID253 - its very subject
    helper,
    numpy_helper,
    version_converter,
)

from titrant.runtime.backends.onnxruntime.apart import DATA, apart_bytes, settle, turned, write_weights
from titrant.runtime.backends.recurrent import KEY, written
from titrant.runtime.values import OnnxModel, Recurrence
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, StepError
from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.text import first_line

# A protobuf message holds no more.
LIMIT = 2**31 - 1
# What the rest of a graph that is near the limit may take.
_MARGIN_BYTES = 32 << 20
# What libraries note for themselves: where a node was traced, which pass ran.
NOTES = ("metadata_props",)
# The standard operators' domain has two spellings.
STANDARD = ("", "ai.onnx")
# The domain of onnxruntime's own operators.
MICROSOFT = "com.microsoft"
# Quantize and dequantize nodes with a scale a channel came with this operator set.
LOWEST_OPSET = 13
# Since this version weights need not be listed among a graph's inputs; listed there they are not constant.
CONSTANT_WEIGHTS = 4
WEIGHTED = ("MatMul", "Gemm", "Conv", "ConvTranspose")
# Rows of a table: its weight is the first operand.
LOOKUPS = ("Gather",)
# What the product of a Gemm that is written as two nodes is called behind the Gemm's name.
PRODUCT = "_product"
# The dimensions of height and width in (batch, channels, height, width).
PIXELS = (2, 3)


def read(path: Path, *, apart: bool = False) -> onnx.ModelProto:
    """Read a file, with the weights that stand beside it and sparse ones written out.

    Where they may stay `apart`, those beside it do if they are large (see `settle`): `values` reads one at a time.

    Raises StepError X209 when it is none, or the weights are not there.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError) as error:
        raise StepError(
            Diagnostic("X209", f"{path.name} is not an ONNX file that can be read: {error}", help="export it again")
        ) from None
    try:
        settle(model, path.parent, apart=apart)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        message = f"{path.name} keeps weights in a file that cannot be read: {first_line(error)}"
        raise StepError(Diagnostic("X209", message, help="put it beside the model")) from None
    _write_out(model.graph)
    return model


def dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """Write a sparse tensor out, whose values and places stand in the file itself."""
    values, places = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    whole = np.zeros(sparse.dims, values.dtype)
    whole[tuple(places.T) if places.ndim > 1 else np.unravel_index(places, whole.shape)] = values
    return numpy_helper.from_array(whole, sparse.values.name)


def _write_out(graph: onnx.GraphProto) -> None:
    """Make dense initializers of sparse ones, which no tool here takes, also in the graphs inside."""
    for sparse in graph.sparse_initializer:
        graph.initializer.append(dense(sparse))
    del graph.sparse_initializer[:]
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _write_out(inner)


def write(model: onnx.ModelProto, path: Path, *, external: bool = False) -> OnnxModel:
    """Check and write a graph without remarks, producers and paths; StepError X209 when it is not valid.

    Where `external`, and above 2 GB, its weights come to stand in `model.onnx.data` beside it.
    """
    _strip(model)
    if external or not fits_one_file(model):
        return write_apart(model, path)
    try:
        onnx.checker.check_model(model)
        data = model.SerializeToString(deterministic=True)
    except (onnx.checker.ValidationError, EncodeError) as error:
        raise StepError(Diagnostic("X209", f"the graph is not valid ONNX: {first_line(error)}")) from None
    path.write_bytes(data)
    return OnnxModel(path)


def fits_one_file(model: onnx.ModelProto) -> bool:
    """Whether no weights stand apart, and all stay below 2 GB: no message holds more, and onnx checks none."""
    return not apart_bytes(model.graph) and _weight_bytes(model.graph) + _MARGIN_BYTES <= LIMIT


def write_apart(model: onnx.ModelProto, path: Path) -> OnnxModel:
    """Check a graph and write it as it is, its weights into `model.onnx.data` beside it; StepError X209 as `write`."""
    write_weights(model, path.with_name(DATA))
    try:
        path.write_bytes(model.SerializeToString())
        onnx.checker.check_model(str(path))
    except (onnx.checker.ValidationError, EncodeError, ValueError) as error:
        raise StepError(Diagnostic("X209", f"the graph is not valid ONNX: {first_line(error)}")) from None
    return OnnxModel(path)


def _weight_bytes(graph: onnx.GraphProto) -> int:
    """Return what a graph's constants take; asking a message above 2 GB for its size fails."""
    return sum(len(tensor.raw_data) for tensor in graph.initializer)


def note_recurrence(model: onnx.ModelProto, recurrence: Recurrence) -> None:
    """Write recurrent state into a graph's metadata: whoever opens the file then knows how to run a case."""
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != KEY]
    del model.metadata_props[:]
    for key, value in (*kept, (KEY, canonical_json(written(recurrence)))):
        model.metadata_props.add(key=key, value=value)


def is_recurrent(model: onnx.ModelProto) -> bool:
    """Whether a graph has recurrent state, as its metadata say."""
    return any(entry.key == KEY for entry in model.metadata_props)


def _strip(model: onnx.ModelProto) -> None:
    model.producer_name = model.producer_version = model.domain = model.doc_string = ""
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key == KEY]
    del model.metadata_props[:]
    for key, value in kept:  # without it nobody could run the file over the steps of a case
        model.metadata_props.add(key=key, value=value)
    _strip_graph(model.graph)


def _strip_graph(graph: Any) -> None:
    graph.doc_string = ""
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.doc_string = ""
        for field in NOTES:
            if hasattr(part, field):
                del getattr(part, field)[:]
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _strip_graph(inner)


def opset(model: onnx.ModelProto) -> int:
    """Return the version of the standard operator set that a graph uses; 1 where it names none, as ONNX has it."""
    return next((item.version for item in model.opset_import if item.domain in STANDARD), 1)


def subgraphs(node: onnx.NodeProto) -> Mapping[str, onnx.GraphProto]:
    """Return a node's graphs by the attribute that holds each: `body`, `then_branch`, `else_branch`."""
    settings = node.attribute
    return {item.name: item.g for item in settings if item.HasField("g")} if settings else {}


def upgraded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with constant weights, in operator set 13 or later.

    Raises PreconditionError X211 when a node cannot be brought to that set.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) < len(model.graph.input):
        model.ir_version = max(model.ir_version, CONSTANT_WEIGHTS)
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    if opset(model) >= LOWEST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, LOWEST_OPSET)
    except (version_converter.ConvertError, RuntimeError) as error:
        raise PreconditionError(
            Diagnostic(
                "X211",
                f"the graph is in operator set {opset(model)} and cannot be brought to {LOWEST_OPSET}: "
                f"{first_line(error)}",
                help=f"export the model again with opset {LOWEST_OPSET} or later",
            )
        ) from None


def weighted_nodes(model: onnx.ModelProto, types: Iterable[str] = WEIGHTED, but: Collection[str] = ()) -> list[str]:
    """Name the nodes of some types whose weight is a constant of two or more dimensions in fp32, none of `but`."""
    constants = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) > 1 and tensor.data_type == 1}
    constants -= set(but)
    return [
        node.name
        for node in model.graph.node
        if node.op_type in types and node.domain in STANDARD and constants.intersection(_weight(node))
    ]


def _weight(node: onnx.NodeProto) -> Iterable[str]:
    return node.input[:1] if node.op_type in LOOKUPS else node.input[1:2]


def without_gemm(model: onnx.ModelProto) -> None:
    """Write each plain Gemm with constant weights as MatMul and Add, in place.

    onnxruntime's dynamic quantization does the same, but transposes a weight once for every Gemm that reads it: two
    layers that share a square weight would then answer with it untransposed.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    transposed: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        parts = list(_as_matmul(node, weights, transposed))
        if len(parts) > 1:
            type_as(model, parts[0].output[0], node.output[0])
        nodes += parts
    model.graph.initializer.extend(turned(weights[name], new) for name, new in transposed.items())
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input} | {output.name for output in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read or tensor.name not in transposed]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _as_matmul(
    node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], transposed: dict[str, str]
) -> Iterator[onnx.NodeProto]:
    settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    scaled = settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0 or settings.get("transA", 0)
    if node.op_type != "Gemm" or scaled or node.input[1] not in weights:
        yield node
        return
    weight = node.input[1]
    if settings.get("transB", 0):
        weight = transposed.setdefault(weight, f"{weight}_transposed")
    biased = len(node.input) > 2 and node.input[2] != ""
    product = f"{node.output[0]}_product" if biased else node.output[0]
    yield helper.make_node("MatMul", [node.input[0], weight], [product], f"{node.name}{PRODUCT}")
    if biased:
        yield helper.make_node("Add", [product, node.input[2]], [node.output[0]], f"{node.name}_bias")


def products_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """Sort the nodes topologically, products before others that are ready, else as they stood.

    onnxruntime's tool decides node by node, and gives a node that only moves values (Slice, Reshape) int8 only where a
    node before it has asked for its input in int8.
    """
    nodes = list(model.graph.node)
    producer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = [{producer[name] for name in reads(node) if name in producer} for node in nodes]
    feeds: list[list[int]] = [[] for _ in nodes]
    for index, sources in enumerate(needs):
        for source in sources:
            feeds[source].append(index)
    ready = [_rank(nodes[index], index) for index, sources in enumerate(needs) if not sources]
    heapq.heapify(ready)
    order = []
    while ready:
        _, index = heapq.heappop(ready)
        order.append(index)
        for reader in feeds[index]:
            needs[reader].discard(index)
            if not needs[reader]:
                heapq.heappush(ready, _rank(nodes[reader], reader))
    sorted_nodes = [nodes[index] for index in order]
    del model.graph.node[:]
    model.graph.node.extend(sorted_nodes)
    return model


def has_branches(model: onnx.ModelProto) -> bool:
    """Whether a node holds graphs of its own, which may read anything of the graph around them."""
    return any(item.HasField("g") or item.graphs for node in model.graph.node for item in node.attribute)


def mend_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """Sort a graph with branches or loops anew, in place: the tools do not see what a branch reads outside it."""
    return products_first(model) if has_branches(model) else model


def _rank(node: onnx.NodeProto, index: int) -> tuple[bool, int]:
    return node.op_type not in WEIGHTED, index


def reads(node: onnx.NodeProto) -> set[str]:
    """Name what a node reads, the graphs inside it included."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for inner_node in inner.node:
                names |= reads(inner_node)
            names |= {output.name for output in inner.output}
    return names


def pooled(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Write every mean over the last two of four dimensions of a typed graph as GlobalAveragePool, in place.

    The sums are the same, and onnxruntime has an int8 kernel for it where ReduceMean has none; where the mean drops the
    dimensions, a Flatten follows.
    """
    ranks = ranks_of(graph.graph)
    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    whole = {value.name for value in graph.graph.value_info if value.type.tensor_type.elem_type != 1}
    nodes: list[onnx.NodeProto] = []
    for node in graph.graph.node:
        pixels = node.op_type == "ReduceMean" and ranks.get(node.input[0]) == 4 and _axes(node, constants) == PIXELS
        parts = _as_pool(node) if pixels and node.input[0] not in whole else [node]
        if len(parts) > 1:
            type_as(graph, parts[0].output[0], node.output[0])
        nodes += parts
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return graph


def type_as(model: onnx.ModelProto, name: str, like: str) -> None:
    """Note that a tensor has another's type; the rank may be another, so that no shape is noted."""
    graph = model.graph
    for value in (*graph.value_info, *graph.output, *graph.input):
        if value.name == like:
            element = value.type.tensor_type.elem_type
            graph.value_info.append(helper.make_tensor_value_info(name, element, None))
            return


def ranks_of(graph: onnx.GraphProto) -> dict[str, int]:
    """Return how many dimensions each tensor has whose shape the graph notes."""
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def _axes(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> tuple[int, ...] | None:
    """Return the axes of a mean over four dimensions, counted from the first; None where they are computed."""
    axes = _attribute(node, "axes")
    if axes is None and len(node.input) > 1 and node.input[1] in constants:
        axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
    return None if axes is None else tuple(sorted(int(axis) % 4 for axis in axes))


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), None)


def _as_pool(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    [answer] = node.output
    if _attribute(node, "keepdims") in (None, 1):
        return [helper.make_node("GlobalAveragePool", [node.input[0]], [answer], name=node.name)]
    return [
        helper.make_node("GlobalAveragePool", [node.input[0]], [f"{answer}_pooled"], name=f"{node.name}_pooled"),
        helper.make_node("Flatten", [f"{answer}_pooled"], [answer], name=node.name, axis=1),
    ]

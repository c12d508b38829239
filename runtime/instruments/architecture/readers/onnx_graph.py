"""Read the architecture of an ONNX graph: blocks by the names of nodes, or by what their exporter says of them."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from titrant.runtime.backends.onnxruntime.graph import STANDARD, reads, subgraphs
from titrant.runtime.instruments.architecture.layer_graph import (
    PRECISION,
    SHAPES,
    LayerGraph,
    Operation,
    is_low_bit,
)
from titrant.runtime.instruments.architecture.names import convolution, filled, name_path, scope_path
from titrant.schema.facts import Layer, ModelFacts
from titrant.schema.values.units import counted

if TYPE_CHECKING:
    import onnx

# Where torch's exporter says which modules a node came from, and of which classes these are.
_SCOPES, _CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
_CONVERTS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
_KNOWN = (*STANDARD, "com.microsoft")
_MEASURES = ("Shape", "Size")
_LOW_BIT_KINDS = ("QLinear", "QGemm", "QAttention", "MatMulNBits", "GatherBlockQuantized")
_LOW_BIT_ENDS = ("Integer", "IntegerToFloat")
# A name says where a node stands if most nodes have such names.
_MOST = 0.5


def onnx_architecture(
    name: str, graph: "onnx.GraphProto", facts: ModelFacts, shapes: Mapping[str, tuple[int, ...]], cases: int
) -> LayerGraph:
    """Return the architecture of a graph, whose nodes `facts` lists as layers in their order.

    `cases` is the batch size that `shapes` are of. Nodes that compute with shapes alone and conversions to and from
    integers are kept, and marked as not drawn; If, Loop and Scan are one operation each.
    """
    held = {tensor.name for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer))}
    given = {value.name for value in graph.output}
    made = {value.name for value in graph.input} | {item for node in graph.node for item in node.output}
    static, low = set(held), _low_bit_weights(graph)
    stored = dict(low)
    operations = []
    blocks, kinds = _blocks(graph)
    names: dict[str, int] = {}
    for node, layer, block in zip(graph.node, facts.layers, blocks, strict=True):
        kind, makes = node.op_type, tuple(item for item in node.output if item)
        read = [item for item in node.input if item]
        if subgraphs(node):
            read += sorted(item for item in reads(node) if item and item not in read)
        hidden = _hidden(node, layer, read, static, given)
        if hidden == SHAPES:
            static.update(makes)
        if kind == "DequantizeLinear" and node.input[0] in low:
            stored[node.output[0]] = low[node.input[0]]
        few = next((stored[item] for item in read if item in stored), "") if stored else ""
        precision = few or layer.dtype
        names[layer.name] = names.get(layer.name, 0) + 1
        again = names[layer.name]
        operations.append(
            Operation(
                name=layer.name if again == 1 else f"{layer.name} ({again})",
                kind=kind if node.domain in _KNOWN else f"{node.domain}.{kind}",
                block=block,
                inputs=tuple(dict.fromkeys(item for item in read if item in made and item not in held)),
                outputs=makes,
                parameters=layer.parameters,
                flops=layer.flops,
                precision=precision,
                quantized=_is_quantized(kind) or few != "",
                detail=_detail(node, layer),
                hidden=hidden,
            )
        )  # fmt: skip
    freed = {item: _freed(shape, cases) for item, shape in shapes.items() if item in made and item not in held}
    ends = {spec.name: spec for spec in (*facts.inputs, *facts.outputs)}
    inputs = tuple(value.name for value in graph.input if value.name not in held)
    return LayerGraph(
        name=name,
        operations=tuple(operations),
        shapes={**freed, **{item: spec.shape for item, spec in ends.items()}},
        inputs=inputs,
        outputs=tuple(value.name for value in graph.output),
        kinds=kinds,
        dtypes={item: spec.dtype for item, spec in ends.items()},
        notes=tuple(_notes(operations)),
    )


def _hidden(node: "onnx.NodeProto", layer: Layer, read: Sequence[str], static: set[str], given: set[str]) -> str:
    if given.intersection(node.output):
        return ""
    if node.op_type in _CONVERTS and node.domain in _KNOWN:
        return SHAPES if read and read[0] in static else PRECISION
    computed = all(item in static for item in read) and not subgraphs(node) and not node.op_type.startswith("Random")
    return SHAPES if node.op_type in _MEASURES or (computed and not layer.parameters) else ""


def _low_bit_weights(graph: "onnx.GraphProto") -> dict[str, str]:
    """Return the weights that are stored in few bits, by name, with their precision."""
    from onnx import TensorProto

    names = {
        tensor.name: TensorProto.DataType.Name(tensor.data_type).lower() for tensor in graph.initializer if tensor.dims
    }
    return {name: dtype for name, dtype in names.items() if is_low_bit(dtype)}


@cache
def _is_quantized(kind: str) -> bool:
    return kind.startswith(_LOW_BIT_KINDS) or kind.endswith(_LOW_BIT_ENDS)


def _freed(shape: tuple[int, ...], cases: int) -> tuple[int | str, ...]:
    return ("batch", *shape[1:]) if shape and shape[0] == cases else shape


def _detail(node: "onnx.NodeProto", layer: Layer) -> str:
    """Say in a few signs what a layer is: the kernel and channels of a convolution, the widths of a product."""
    shape = layer.weight_shape
    if not node.attribute and not shape:
        return ""
    if bodies := subgraphs(node):
        return counted(sum(len(body.node) for body in bodies.values()), "node")
    values = {item.name: item for item in node.attribute}
    if "Conv" in node.op_type and len(shape) > 2:
        return convolution(shape, _numbers(values, "strides"), layer.groups, transposed="Transpose" in node.op_type)
    if len(shape) == 2 and layer.parameters:
        swapped = node.op_type == "Gemm" and "transB" in values and values["transB"].i
        return f"{shape[1]}→{shape[0]}" if swapped else f"{shape[0]}→{shape[1]}"
    kernel = _numbers(values, "kernel_shape")
    return "×".join(map(str, kernel)) if kernel else ""


def _numbers(values: "Mapping[str, onnx.AttributeProto]", name: str) -> list[int]:
    return list(values[name].ints) if name in values else []


def _blocks(graph: "onnx.GraphProto") -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """Return the blocks that each node stands in, and the classes of blocks where the exporter says them."""
    paths: list[tuple[str, ...] | None] = []
    kinds: dict[str, str] = {}
    for node in graph.node:
        props = node.metadata_props
        said = {item.key: item.value for item in props} if props else {}
        scopes, classes = _listed(said.get(_SCOPES)), _listed(said.get(_CLASSES))
        if len(scopes) > 1:
            path: tuple[str, ...] | None = scope_path(scopes[1:-1])
            for scope, kind in zip(scopes, classes, strict=False):
                kinds[".".join(scope_path([scope]))] = kind.rpartition(".")[2]
        else:
            path = name_path(node.name)
        paths.append(path)
    named = [path for path in paths if path]
    if len(named) < _MOST * len(paths):
        return [()] * len(paths), {}
    return list(filled(paths)), kinds


def _listed(text: str | None) -> list[str]:
    try:
        value = ast.literal_eval(text) if text else []
    except (ValueError, SyntaxError):
        return []
    return [str(each) for each in value] if isinstance(value, list) else []


def _notes(operations: Sequence[Operation]) -> Iterator[str]:
    converts = sum(operation.kind in _CONVERTS for operation in operations if operation.hidden)
    computed = sum(bool(operation.hidden) for operation in operations) - converts
    if converts:
        yield f"not drawn: {counted(converts, 'node')} to quantize or dequantize; the layers between them are marked"
    if computed:
        yield f"not drawn: {counted(computed, 'node')} with nothing but shapes and constants to read"
    bodies = sum(operation.kind in ("If", "Loop", "Scan") for operation in operations)
    if bodies:
        yield f"control flow: {counted(bodies, 'box', 'boxes')} of If, Loop or Scan, in which the data decide what runs"

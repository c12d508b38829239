"""Put a graph into the form that onnxruntime's quantization tools take; what it answers stays as it was.

Each pass removes one thing that exporters write and the tools mistake. A pass changes its graph in place.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.apart import bring, is_apart, turned, values
from titrant.runtime.backends.onnxruntime.graph import STANDARD, ranks_of, reads, subgraphs, type_as
from titrant.schema.values.frozen import dataclass

# What the tools append to a tensor's name, or to a node's, for the tensors that they add.
_APPENDED = (
    "_scale", "_zero_point", "_quantized", "_QuantizeLinear_Input", "_QuantizeLinear_Output",
    "_DequantizeLinear_Input", "_DequantizeLinear_Output", "_DequantizeLinear", "_QuantizeLinear", "_output_quantized",
    "_output_quantized_cast_output", "_product", "_transposed", "_pooled", "_min", "_max", "_ReduceMin", "_ReduceMax",
)  # fmt: skip
_GEMM_BIAS = 2
# The dimensions of a matrix.
MATRIX = 2
# Where a node has the weight that it multiplies by or looks rows up in.
_WEIGHT_AT = {"MatMul": 1, "Gemm": 1, "Gather": 0}


@dataclass(frozen=True)
class Renamed:
    """The inputs and outputs that had to be renamed: new name → the file's own."""

    own: Mapping[str, str]

    def of(self, name: str) -> str:
        """Return the file's own name for an input or output of the normalized graph."""
        return self.own.get(name, name)


def normalize(model: onnx.ModelProto) -> Renamed:
    """Run every pass over a typed graph whose constants are folded; returns how inputs and outputs are now named."""
    hold_constants(model)
    scale_products(model)
    flatten_biases(model)
    flatten_weights(model)
    splitconstants_of(model)
    part_readers(model)
    return rename_tensors(model)


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with the file's own functions in the place of their calls."""
    import onnx.inliner

    return onnx.inliner.inline_local_functions(model) if model.functions else model


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node a name of its own: the tools name what they add after it."""
    given = Counter(node.name for node in model.graph.node)
    taken = set(given)
    for place, node in enumerate(model.graph.node):
        if node.name and given[node.name] == 1:
            continue
        node.name = _free(node.name or f"{node.op_type}_{place}", taken, first=not node.name)
        taken.add(node.name)


def keep_weights_apart(model: onnx.ModelProto) -> None:
    """Leave nothing apart but fp32 matrices that products multiply by and tables that rows are looked up in.

    One that is transposed first is read transposed instead, under the name of what the node made of it. None stays in a
    graph with BatchNormalization, which onnxruntime multiplies into the weights before it.
    """
    graph, made, gone = model.graph, dict[str, onnx.TensorProto](), set[str]()
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in set(node.input):
            readers[name].append(node)
    elsewhere = {output.name for output in graph.output}
    elsewhere |= {name for node in graph.node for name in reads(node) - set(node.input)}
    normalized = any(node.op_type == "BatchNormalization" for node in graph.node)

    def turns(node: onnx.NodeProto) -> bool:
        return node.op_type == "Transpose" and node.domain in STANDARD and setting(node, "perm", [1, 0]) == [1, 0]

    def is_weight(name: str, nodes: list[onnx.NodeProto]) -> bool:
        read = [(node, place) for node in nodes for place, operand in enumerate(node.input) if operand == name]
        return name not in elsewhere and all(
            node.domain in STANDARD and _WEIGHT_AT.get(node.op_type) == place for node, place in read
        )

    for tensor in [tensor for tensor in graph.initializer if is_apart(tensor)]:
        others = [node for node in readers[tensor.name] if not turns(node)]
        answers = [node.output[0] for node in readers[tensor.name] if turns(node)]
        matrix = len(tensor.dims) == MATRIX and tensor.data_type == onnx.TensorProto.FLOAT and not normalized
        if matrix and is_weight(tensor.name, others) and all(is_weight(name, readers[name]) for name in answers):
            made |= {name: turned(tensor, name) for name in answers}
            gone |= {tensor.name} if answers and not others else set()
        else:
            bring(tensor)
    _replace_nodes(model, [node for node in graph.node if not made.keys() & set(node.output)])
    constants = [tensor for tensor in graph.initializer if tensor.name not in gone]
    del graph.initializer[:]
    graph.initializer.extend([*constants, *made.values()])


def hold_constants(model: onnx.ModelProto) -> None:
    """Turn `Constant` nodes into initializers, which alone the tools take for weights."""
    kept = []
    for node in model.graph.node:
        tensor = _constant(node) if node.op_type == "Constant" and node.domain in STANDARD else None
        if tensor is None or node.output[0] in {output.name for output in model.graph.output}:
            kept.append(node)
        else:
            tensor.name = node.output[0]
            model.graph.initializer.append(tensor)
    _replace_nodes(model, kept)


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    [item] = node.attribute
    value = helper.get_attribute_value(item)
    if item.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value)
        return tensor
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    return numpy_helper.from_array(np.array(value, kinds[item.name])) if item.name in kinds else None


def scale_products(model: onnx.ModelProto) -> None:
    """Multiply `alpha` and `beta` of a Gemm into its constants; the tools drop `beta` with the bias's scale."""
    constants = constants_of(model)
    for node in model.graph.node:
        if node.op_type != "Gemm" or node.domain not in STANDARD:
            continue
        for factor_name, place in (("alpha", 1), ("beta", _GEMM_BIAS)):
            factor = setting(node, factor_name, 1.0)
            if len(node.input) <= place or not node.input[place]:
                _unset(node, factor_name)
                continue
            tensor = constants.get(node.input[place])
            if factor != 1.0 and tensor is not None:
                scaled = (values(tensor) * np.float32(factor)).astype(np.float32)
                node.input[place] = add_constant(model, scaled, f"{tensor.name}_{factor_name}")
                _unset(node, factor_name)


def flatten_biases(model: onnx.ModelProto) -> None:
    """Bring a Gemm's constant bias of any broadcastable shape to (out,); one that differs by row is added after it."""
    constants, nodes = constants_of(model), []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "Gemm" or node.domain not in STANDARD or len(node.input) <= _GEMM_BIAS:
            continue
        weight, bias = constants.get(node.input[1]), constants.get(node.input[_GEMM_BIAS])
        if weight is None or bias is None or setting(node, "beta", 1.0) != 1.0:
            continue
        width = weight.dims[0 if setting(node, "transB", 0) else 1]
        if tuple(bias.dims) == (width,):
            continue
        values = numpy_helper.to_array(bias)
        if values.ndim < MATRIX or values.shape[0] == 1:
            flat = np.broadcast_to(values.reshape(values.shape[-1:]), (width,))
            node.input[_GEMM_BIAS] = add_constant(model, flat, f"{bias.name}_flat")
        else:
            answer, node.output[0] = node.output[0], f"{node.output[0]}_unbiased"
            type_as(model, node.output[0], answer)
            nodes.append(helper.make_node("Add", [node.output[0], bias.name], [answer], f"{node.name}_bias"))
            del node.input[_GEMM_BIAS]
    _replace_nodes(model, nodes)


def flatten_weights(model: onnx.ModelProto) -> None:
    """Drop leading axes of size 1 of a MatMul's weight where the other operand has as many: the answer has them."""
    constants, ranks = constants_of(model), ranks_of(model.graph)
    for node in model.graph.node:
        weight = constants.get(node.input[1]) if node.op_type == "MatMul" and node.domain in STANDARD else None
        if weight is None:
            continue
        shape = tuple(weight.dims)
        broad = len(shape) - MATRIX
        if broad > 0 and set(shape[:broad]) == {1} and ranks.get(node.input[0], 0) >= len(shape):
            flat = numpy_helper.to_array(weight).reshape(shape[broad:])
            node.input[1] = add_constant(model, flat, f"{weight.name}_flat")


def splitconstants_of(model: onnx.ModelProto) -> None:
    """Give a constant that operators read in different ways a copy for each way, as its scales lie along other axes."""
    constants, first = constants_of(model), dict[str, tuple[Any, ...]]()
    copies: dict[tuple[Any, ...], str] = {}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name not in constants or constants[name].data_type != onnx.TensorProto.FLOAT:
                continue
            way = _way(node, place)
            if first.setdefault(name, way) != way:
                if (name, *way) not in copies:
                    copies[name, *way] = _copied(model, constants[name], f"{name}_{len(copies)}")
                node.input[place] = copies[name, *way]


def _copied(model: onnx.ModelProto, tensor: onnx.TensorProto, name: str) -> str:
    if not is_apart(tensor):
        return add_constant(model, numpy_helper.to_array(tensor), name)
    free = add_constant(model, np.zeros(0, np.float32), name)
    model.graph.initializer[-1].CopyFrom(tensor)
    model.graph.initializer[-1].name = free
    return free


def part_readers(model: onnx.ModelProto) -> None:
    """Give a Relu or Clip a copy of what is read elsewhere too: the tools would take the range after it for both.

    They count the nodes that read a tensor, and neither the graph's outputs nor the graphs inside nodes: negative
    answers would be lost.
    """
    elsewhere = {output.name for output in model.graph.output}
    elsewhere |= {name for node in model.graph.node for name in reads(node) - set(node.input)}
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type in ("Relu", "Clip") and node.input[0] in elsewhere:
            source = node.input[0]
            node.input[0] = _free(f"{source}_copy", taken, first=True)
            taken.add(node.input[0])
            type_as(model, node.input[0], source)
            nodes.append(helper.make_node("Identity", [source], [node.input[0]], f"{node.name}_copy"))
        nodes.append(node)
    _replace_nodes(model, nodes)


def _way(node: onnx.NodeProto, place: int) -> tuple[Any, ...]:
    """Say how a node reads an operand; a bias is scaled by its own node's input and weight, so none is shared."""
    bias = place == _GEMM_BIAS and node.op_type in ("Gemm", "Conv", "ConvTranspose")
    groups = setting(node, "group", 1) if node.op_type == "ConvTranspose" else 1
    return (node.op_type, place, setting(node, "transB", 0), groups, node.name if bias else "")


def rename_tensors(model: onnx.ModelProto) -> Renamed:
    """Rename tensors whose name is another's with an ending of the tools', or is used as a node's name as well."""
    graph = model.graph
    names = {name for node in graph.node for name in (*node.input, *node.output) if name}
    names |= {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    clashing = {name for base in names for name in (f"{base}{ending}" for ending in _APPENDED) if name in names}
    clashing |= {name for name in names for ending in _FIXED if name == ending}
    if not clashing:
        return Renamed({})
    taken = set(names)
    new: dict[str, str] = {}
    for place, name in enumerate(sorted(clashing)):
        new[name] = _free(f"tensor_{place}", taken, first=True)
        taken.add(new[name])
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = new.get(value.name, value.name)
    _rename(graph.node, new)
    outside = {value.name for value in (*graph.input, *graph.output)}
    return Renamed({renamed: name for name, renamed in new.items() if renamed in outside})


# What the tools call tensors that they add once.
_FIXED = ("fixed_quantization_range_uint8", "fixed_quantization_range_int8", "fixed_zero", "fixed_zero_zp")


def restore_names(model: onnx.ModelProto, names: Renamed) -> None:
    """Give inputs and outputs the file's own names back; what the tools called so gives way."""
    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {tensor.name for tensor in graph.initializer}
    new: dict[str, str] = {}
    for name in names.own.values():
        if name in taken:
            new[name] = _free(f"{name}_of", taken, first=True)
            taken.add(new[name])
    rename_all(graph, new)
    rename_all(graph, names.own)


def rename_all(graph: onnx.GraphProto, new: Mapping[str, str]) -> None:
    """Rename tensors of a graph in all that names them, the graphs inside its nodes included."""
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = new.get(value.name, value.name)
    _rename(graph.node, new)


def _rename(nodes: Any, new: Mapping[str, str]) -> None:
    """Rename what nodes read and write, the graphs inside them included; names that those define hide outer ones."""
    for node in nodes:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = new.get(name, name)
        for body in subgraphs(node).values():
            hidden = {value.name for value in (*body.input, *body.initializer)}
            hidden |= {name for inner in body.node for name in inner.output}
            outer = {name: renamed for name, renamed in new.items() if name not in hidden}
            _rename(body.node, outer)
            for value in body.output:
                value.name = outer.get(value.name, value.name)


def infer_types(model: onnx.ModelProto, scratch: Path) -> None:
    """Note the type and shape of every tensor as onnxruntime infers them, instead of what the file said of them.

    The tools infer them by onnx alone, which knows none of onnxruntime's operators and not all of ai.onnx.ml.
    """
    from titrant.runtime.backends.onnxruntime.session import load

    said = {value.name for value in model.graph.output}
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    del model.graph.value_info[:], asked.graph.value_info[:]
    inner = [name for node in asked.graph.node for name in node.output if name and name not in said]
    asked.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in inner)
    file = scratch / "typed.onnx"
    onnx.save(asked, str(file))
    session = load(file, threads=1, optimized="off")
    file.unlink()
    kinds = {f"tensor({name})": number for name, number in ELEMENTS.items()}
    # onnxruntime gives an unknown shape as it gives that of a scalar.
    model.graph.value_info.extend(
        helper.make_tensor_value_info(item.name, kinds[item.type], item.shape or None)
        for item in session.get_outputs()
        if item.name not in said and item.type in kinds
    )


# The types that onnxruntime exchanges arrays of, as it calls them.
ELEMENTS = {
    "float": onnx.TensorProto.FLOAT, "float16": onnx.TensorProto.FLOAT16,
    "double": onnx.TensorProto.DOUBLE, "int64": onnx.TensorProto.INT64, "int32": onnx.TensorProto.INT32,
    "int16": onnx.TensorProto.INT16, "int8": onnx.TensorProto.INT8, "uint8": onnx.TensorProto.UINT8,
    "uint16": onnx.TensorProto.UINT16, "uint32": onnx.TensorProto.UINT32, "uint64": onnx.TensorProto.UINT64,
    "bool": onnx.TensorProto.BOOL, "string": onnx.TensorProto.STRING,
}  # fmt: skip


def constants_of(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the initializers by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def setting(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return a node's attribute, or what stands for it where the node has none."""
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def _unset(node: onnx.NodeProto, name: str) -> None:
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def add_constant(model: onnx.ModelProto, values: np.ndarray, name: str) -> str:
    """Hold another constant, under a name that is free."""
    taken = {tensor.name for tensor in model.graph.initializer}
    taken |= {output for node in model.graph.node for output in node.output}
    taken |= {value.name for value in model.graph.input}
    free = _free(name, taken, first=True)
    model.graph.initializer.append(numpy_helper.from_array(np.array(values, order="C"), free))
    return free


def _free(name: str, taken: set[str], *, first: bool) -> str:
    return next(free for free in _numbered(name, first=first) if free not in taken)


def _numbered(name: str, *, first: bool) -> Iterator[str]:
    if first:
        yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _replace_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    del model.graph.node[:]
    model.graph.node.extend(nodes)

"""Infer shapes that depend on computed sizes: node by node, computing the small tensors that sizes come from."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from titrant.runtime.onnx.domains import STANDARD, opset
from titrant.runtime.onnx.subgraphs import subgraphs

if TYPE_CHECKING:
    import onnx

# Tensors with more numbers than this do not describe a shape.
MOST_SHAPE_NUMBERS = 1024
Types = dict[str, "onnx.TypeProto"]
Values = dict[str, "onnx.TensorProto"]


def shape_of(kind: "onnx.TypeProto | None") -> tuple[int, ...] | None:
    """Return the shape of a tensor's type, None where it is not fully known; a scalar's is ()."""
    if kind is None or not kind.HasField("tensor_type"):
        return None
    tensor = kind.tensor_type
    if not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)


def follow(model: "onnx.ModelProto", types: Types) -> Types:
    """Return the types, and those that follow once sizes are computed, such as that of a Reshape to a Shape."""
    from onnx import helper

    found, values, version = dict(types), Values(), opset(model)
    for tensor in model.graph.initializer:
        found[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        if math.prod(tensor.dims) <= MOST_SHAPE_NUMBERS:
            values[tensor.name] = tensor
    for node in model.graph.node:
        if node.domain not in STANDARD or subgraphs(node):
            continue
        given = [name for name in node.input if name]
        if any(shape_of(found.get(name)) is None for name in node.output if name):
            found |= _inferred(node, found, values, model)
        value = _value(node, given, found, values, version)
        if value is not None:
            values[node.output[0]] = value
            found[node.output[0]] = helper.make_tensor_type_proto(value.data_type, list(value.dims))
    return found


def _inferred(node: "onnx.NodeProto", types: Types, values: Values, model: "onnx.ModelProto") -> Types:
    import onnx

    given = [name for name in node.input if name]
    if not all(name in types for name in given):
        return {}
    try:
        schema = onnx.defs.get_schema(node.op_type, opset(model), "")
        return onnx.shape_inference.infer_node_outputs(
            schema,
            node,
            {name: types[name] for name in given},
            {name: values[name] for name in given if name in values},
            opset_imports=list(model.opset_import),
            ir_version=model.ir_version,
        )
    except (onnx.defs.SchemaError, onnx.shape_inference.InferenceError, ValueError, TypeError, RuntimeError):
        return {}


def _value(
    node: "onnx.NodeProto", given: list[str], types: Types, values: Values, version: int
) -> "onnx.TensorProto | None":
    """Compute a small tensor: a constant, the shape of a tensor, or what follows from small tensors alone."""
    from onnx import numpy_helper

    if node.op_type == "Constant":
        return next((item.t for item in node.attribute if item.name == "value" and _small(tuple(item.t.dims))), None)
    shape = shape_of(types.get(given[0])) if given else None
    if node.op_type in ("Shape", "Size") and shape is not None:
        return _measured(node, shape)
    small = len(node.output) == 1 and _small(shape_of(types.get(node.output[0])))
    if not given or not small or not all(name in values for name in given):
        return None
    return _computed(node, {name: numpy_helper.to_array(values[name]) for name in given}, version)


def _small(shape: tuple[int, ...] | None) -> bool:
    return shape is not None and math.prod(shape) <= MOST_SHAPE_NUMBERS


def _measured(node: "onnx.NodeProto", shape: tuple[int, ...]) -> "onnx.TensorProto":
    import numpy as np
    from onnx import numpy_helper

    ends = {item.name: item.i for item in node.attribute}
    size = math.prod(shape) if node.op_type == "Size" else shape[ends.get("start", 0) : ends.get("end", len(shape))]
    return numpy_helper.from_array(np.array(size, np.int64))


def _computed(node: "onnx.NodeProto", given: "Mapping[str, object]", version: int) -> "onnx.TensorProto | None":
    import numpy as np
    from onnx import TypeProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    takes, gives = ([helper.make_value_info(name, TypeProto()) for name in names] for names in (given, node.output))
    graph = helper.make_graph([node], node.op_type, takes, gives)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    try:
        answers: Any = ReferenceEvaluator(model).run(None, dict(given))
    except (ValueError, TypeError, IndexError, NotImplementedError, RuntimeError, ArithmeticError):
        return None
    return numpy_helper.from_array(np.asarray(answers[0]))
